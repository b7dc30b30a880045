"""Listed words: English abbreviations that keep their dot, and units that are split off a number."""

_TITLES = "Adm. Bros. Co. Corp. Dr. Gen. Gov. Inc. Jr. Ltd. Messrs. Mr. Mrs. Ms. Mt. Ph.D. Prof. Rep. Rev. Sen. St. co. v.s. vs."
_MONTHS = "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec."
_STATES = """
    Ak. Ala. Ariz. Ark. Calif. Colo. Conn. D.C. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont.
    N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis.
"""
_OTHERS = "a.m. p.m. e.g. i.e. E.g. E.G. I.e. I.E. U.S. U.K. U.N."
_LENGTHS = "nm µm mm cm dm m km mm² cm² dm² m² km² mm³ cm³ dm³ m³ km³ in ft yd ha"
_WEIGHTS = "µg mg g kg t oz lb"
_OTHER_UNITS = "kmh mph Pa hPa mb mbar K M G T kb KB MB gb GB tb TB"

ABBREVIATIONS = (*_TITLES.split(), *_MONTHS.split(), *_STATES.split(), *_OTHERS.split())  # a lower-case letter with a dot needs no listing
UNITS = (*_LENGTHS.split(), *_WEIGHTS.split(), *_OTHER_UNITS.split())
