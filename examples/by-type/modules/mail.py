"""The text of a mail, with who wrote it and about what."""
import email
import email.policy

from pipelinefile import Doc, module


@module
def mail(doc: Doc) -> str:
    message = email.message_from_bytes(doc.bytes(), policy=email.policy.default)
    body = message.get_body(("plain", "html"))
    text = body.get_content() if body else ""
    return f"{message['from']}: {message['subject']}\n\n{text.strip()}\n"
