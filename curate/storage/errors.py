"""Turns what operating systems and object stores raise into errors that say where, what and the remedy.

Only the store's error code and message are quoted: the rest of its answer may hold keys and signatures.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from curate.errors import CurateError, DatasetError, TransientError, WorkspaceError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_PASSING = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ECONNRESET, errno.EAGAIN}  # of network file systems
_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_SKIP_SIGNATURE=true for a public bucket"
    " (Google, Azure: the usual variables of their tools)"
)
_METADATA_SERVICE = "169.254.169.254"  # asked for credentials when the environment has none


@contextlib.contextmanager
def explained(where: str, writing: bool = False) -> Iterator[None]:
    """Explain every error of the storage operation inside."""
    try:
        yield
    except CurateError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"no such file: {where}") from error
    except OSError as error:
        raise _system_error(error, where, writing) from error
    except Exception as error:
        raise _store_error(error, where, writing) from error


@contextlib.contextmanager
def explained_writing(where: str) -> Iterator[None]:
    """Explain only a full or read-only disk: what else the caller's code raises is not about this file."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL | {errno.EROFS}:
            raise _system_error(error, where, writing=True) from error
        raise


def _system_error(error: OSError, where: str, writing: bool) -> Exception:
    text = error.strerror or str(error)
    if error.errno in _FULL:
        return WorkspaceError(f"no space left on the device: {where}", "free some space and run the same command again")
    if error.errno in _REFUSED and writing:
        return WorkspaceError(f"{text}: {where}", "choose a place that you may write to with --workspace")
    if error.errno in _REFUSED:
        return DatasetError(f"{text}: {where}", "check who may read the file")
    if error.errno in _PASSING:
        return TransientError(f"{text}: {where}", cause="storage")
    return DatasetError(f"{text}: {where}")


def _store_error(error: Exception, where: str, writing: bool) -> Exception:
    """Classify an exception of `obstore`, by kind and by the HTTP status in its text; anything else stays as it is."""
    kind = type(error).__name__
    if isinstance(error, ValueError) and "parse path" in str(error):
        return DatasetError(f"{where}: not a name that object stores allow")
    if not type(error).__module__.startswith("obstore") or kind == "AlreadyExistsError":
        return error
    status, reason = _answer(str(error))
    refused: type[CurateError] = WorkspaceError if writing else DatasetError
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        return refused(f"the store refused access to {where}: {reason}", f"check the credentials: {_CREDENTIALS}")
    if _METADATA_SERVICE in str(error):
        return refused(f"no credentials for {where}", _CREDENTIALS)
    if "NoSuchBucket" in reason:
        return refused(f"no such bucket: {where}", "make the bucket, or check its name and AWS_ENDPOINT_URL")
    if kind == "PreconditionError":
        return DatasetError(f"{where} was changed while it was read", "run again, with inputs that stay as they are")
    if kind == "NotFoundError" or status == 404:
        return DatasetError(f"no such file: {where}")
    if kind == "GenericError" and (status is None or status in (408, 409, 429) or status >= 500):
        return TransientError(f"the store did not answer for {where}: {reason}", cause="storage")
    return refused(f"the store cannot do it for {where}: {reason}")


def _answer(text: str) -> tuple[int | None, str]:
    """Return the HTTP status and the reason that the store's answer gives."""
    status = re.search(r"status code: (\d{3})", text)
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        return int(status[1]) if status else None, code[1] + (f": {message[1]}" if message else "")
    first = text.partition("\n")[0]
    return int(status[1]) if status else None, re.sub(r"\?\S*", "", first)[:200]
