"""E-mail about runs and schedules, to the people that the settings name."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Any

from curate.errors import TransientError
from curate.service.settings import Mail, secret
from curate.service.state import tables

ANSWER_S = 20.0


def send(notice: tables.Notice, mail: Mail) -> None:
    """Send a notice; a server that does not take it raises `TransientError`."""
    try:
        with smtplib.SMTP(mail.host, mail.port, timeout=ANSWER_S) as server:
            if mail.starttls:
                server.starttls(context=ssl.create_default_context())
            if mail.user is not None:
                server.login(mail.user, secret(mail.password or ""))
            server.send_message(message(notice, mail))
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(f"{mail.host} did not take the mail: {error}") from None


def message(notice: tables.Notice, mail: Mail) -> EmailMessage:
    """Return the mail of a notice: what happened in the subject, why in the text."""
    told = notice.payload
    made = EmailMessage()
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    subject = told.get("run") or told.get("schedule") or ""
    made["Subject"] = _one_line(f"curate: {told.get('pipeline', '')} {notice.event.partition('.')[2]} ({subject})")
    made.set_content("\n".join(_lines(notice.event, told)))
    return made


def _lines(event: str, told: dict[str, Any]) -> list[str]:
    error = told.get("error") or {}
    lines = [f"{event}: {told.get('pipeline', '')}", ""]
    lines += [str(error["message"])] if error.get("message") else []
    lines += [f"hint: {error['hint']}"] if error.get("hint") else []
    return [*lines, "", str(told.get("url", "")), ""]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
