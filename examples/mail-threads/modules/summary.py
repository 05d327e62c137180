"""What a thread is about, in a few words: who wrote, when, and how it began. A language model would do it better, and cost."""
import re

from pipelinefile import Doc, module


@module
def summary(doc: Doc):
    title, *mails = re.split(r"(?m)^## ", doc.text())
    heads = [re.match(r"(.*), (\d{4}-\d\d-\d\d \d\d:\d\d)\n", mail) for mail in mails]
    heads = [head for head in heads if head]
    authors = list(dict.fromkeys(head[1] for head in heads))
    said = [part for part in re.split(r"\n\s*\n", mails[0])[1:] if len(part) > 60 and not re.match(r"[>|]|On .*wrote:|diff |---", part)]
    return {
        "title": title.strip("# \n"),
        "mails": len(heads),
        "authors": authors,
        "from": heads[0][2],
        "to": heads[-1][2],
        "begins": " ".join(said[0].split())[:200] if said else "",
    }


@module
def index(docs) -> str:
    rows = sorted((doc.json() for doc in docs), key=lambda row: (-row["mails"], row["from"]))
    lines = [f"| {row['mails']} | {row['title'].replace('|', '/')} | {', '.join(row['authors'])} |" for row in rows]
    return "\n".join(["| mails | thread | who |", "|---|---|---|", *lines]) + "\n"
