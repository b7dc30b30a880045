"""The programming language of a file, by its name; languages are named as GitHub's Linguist does, in lower case."""

from __future__ import annotations

import functools

import pyarrow as pa
import pyarrow.compute as pc

EXTENSIONS = {
    "ada": "ada adb ads",
    "assembly": "asm nasm s",
    "awk": "awk",
    "batchfile": "bat cmd",
    "c": "c h",
    "c#": "cs csx",
    "c++": "cc cpp cxx c++ hh hpp hxx h++ inl",
    "clojure": "clj cljc cljs edn",
    "cmake": "cmake",
    "cobol": "cbl cob cobol",
    "coffeescript": "coffee",
    "common lisp": "lisp lsp",
    "css": "css",
    "csv": "csv",
    "cuda": "cu cuh",
    "dart": "dart",
    "diff": "diff patch",
    "dockerfile": "dockerfile",
    "elixir": "ex exs",
    "elm": "elm",
    "emacs lisp": "el",
    "erlang": "erl hrl",
    "f#": "fs fsi fsx",
    "fortran": "f f77 f90 f95 for",
    "glsl": "frag glsl vert",
    "go": "go",
    "gradle": "gradle",
    "groovy": "groovy",
    "haskell": "hs lhs",
    "hcl": "hcl tf",
    "html": "htm html xhtml",
    "ini": "cfg ini",
    "java": "java",
    "javascript": "cjs js jsx mjs",
    "json": "geojson json jsonl webmanifest",
    "julia": "jl",
    "jupyter notebook": "ipynb",
    "kotlin": "kt kts",
    "less": "less",
    "lua": "lua",
    "makefile": "mak mk",
    "markdown": "markdown md",
    "matlab": "m",
    "nim": "nim",
    "nix": "nix",
    "objective-c++": "mm",
    "ocaml": "ml mli",
    "pascal": "dpr pas",
    "perl": "pl pm",
    "php": "php phtml",
    "powershell": "ps1 psd1 psm1",
    "prolog": "pro",
    "protocol buffer": "proto",
    "python": "py pyi pyw pyx",
    "r": "r",
    "racket": "rkt",
    "restructuredtext": "rst",
    "ruby": "gemspec rake rb",
    "rust": "rs",
    "sass": "sass",
    "scala": "sc scala",
    "scheme": "scm ss",
    "scss": "scss",
    "shell": "bash ksh sh zsh",
    "solidity": "sol",
    "sql": "ddl dml sql",
    "standard ml": "sml",
    "svelte": "svelte",
    "svg": "svg",
    "swift": "swift",
    "tcl": "tcl",
    "tex": "cls latex sty tex",
    "text": "txt",
    "toml": "toml",
    "tsv": "tsv",
    "typescript": "cts mts ts tsx",
    "vba": "bas vba",
    "verilog": "v vh",
    "systemverilog": "sv svh",
    "vhdl": "vhd vhdl",
    "vim script": "vim",
    "visual basic .net": "vb",
    "vue": "vue",
    "webassembly": "wast wat",
    "xml": "csproj rdf vcxproj xml xsd",
    "xslt": "xsl xslt",
    "yaml": "yaml yml",
    "zig": "zig",
}
NAMES = {"makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile", "cmakelists.txt": "cmake", "rakefile": "ruby"}
SITE = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"
QUERY = r"[?#].*$"
FOLDERS = r"^.*[/\\]"
STEM = r"^.*\."


@functools.cache
def _table() -> tuple[pa.Array, pa.Array]:
    """Return names and extensions (with their dot), and their languages."""
    known = NAMES | {f".{extension}": language for language, extensions in EXTENSIONS.items() for extension in extensions.split()}
    return pa.array(list(known), pa.large_string()), pa.array(list(known.values()), pa.large_string())


def languages_by_name(paths: pa.Array) -> pa.Array:
    """Return the language that a file's name or extension stands for, null for none; a path may be a URL."""
    names = pc.replace_substring_regex(pc.cast(paths, pa.large_string()), SITE, "")
    names = pc.utf8_lower(pc.replace_substring_regex(pc.replace_substring_regex(names, QUERY, ""), FOLDERS, ""))
    extensions = pc.replace_substring_regex(names, STEM, ".")
    keys, languages = _table()
    return languages.take(pc.coalesce(pc.index_in(names, keys), pc.index_in(extensions, keys)))
