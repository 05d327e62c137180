"""Mailboxes to mails, mails to threads. Standard library only."""
from __future__ import annotations

import email
import email.policy
import email.utils
import json
import re
from datetime import timezone
from email.message import EmailMessage

from pipelinefile import Child, Doc, module


@module
def messages(doc: Doc):
    """The mails of a mailbox, each named by its Message-ID: one that comes in between renames no other."""
    seen = set()
    for raw in re.split(rb"(?m)^From .*\n", doc.bytes())[1:]:
        raw = re.sub(rb"(?m)^>(>*From )", rb"\1", raw).rstrip(b"\n") + b"\n"
        message = parse(raw)
        name = message_id(message["message-id"])
        if name in seen:
            doc.warn(f"{name} is there twice")
            continue
        seen.add(name)
        yield Child(name, raw, meta={"subject": subject(message)}, ext="eml")


@module
def header(doc: Doc):
    message = parse(doc.bytes())
    refs = re.findall(r"<([^>\s]+)>", f"{message['references'] or ''} {message['in-reply-to'] or ''}")
    return {"id": message_id(message["message-id"]), "refs": refs, "subject": subject(message), "date": date(message)}


@module
def threads(docs) -> dict:
    """Which thread each mail belongs to: mails that refer to one another, directly or through mails that we lack.
    A thread is called by its oldest mail's subject and day."""
    heads, root = {}, {}

    def find(name):
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for doc in docs:
        head = heads[doc.id] = doc.json()
        for ref in head["refs"]:
            root[find(ref)] = find(head["id"])
    oldest = {}
    for head in sorted(heads.values(), key=lambda head: (head["date"], head["id"])):
        oldest.setdefault(find(head["id"]), head)
    names = {}
    for thread, head in oldest.items():
        name = f"{head['date'][:10]} {head['subject']}"
        names[thread] = name if name not in names.values() else f"{name} ({head['id'][:8]})"
    return {name: names[find(head["id"])] for name, head in heads.items()}


@module
def thread(docs) -> str:
    mails = sorted((parse(doc.bytes()) for doc in docs), key=lambda mail: (date(mail), mail["message-id"]))
    parts = [f"# {subject(mails[0])}\n"]
    for mail in mails:
        parts.append(f"## {author(mail)}, {date(mail)[:16].replace('T', ' ')}\n\n{text(mail).strip()}\n")
    return "\n".join(parts)


def parse(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def message_id(value) -> str:
    return str(value).strip().strip("<>")


def subject(message: EmailMessage) -> str:
    plain = re.sub(r"\s+", " ", str(message["subject"] or "no subject"))
    return re.sub(r"(?i)^((re|fwd?|aw):\s*|\[notmuch\]\s*)+", "", plain).strip()


def author(message: EmailMessage) -> str:
    name, address = email.utils.parseaddr(str(message["from"]))
    return name or address


def date(message: EmailMessage) -> str:
    """The date in UTC, so that texts sort as times do."""
    return email.utils.parsedate_to_datetime(str(message["date"])).astimezone(timezone.utc).isoformat()


def text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    return body.get_content() if body else ""
