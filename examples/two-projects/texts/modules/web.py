"""The text of a web page; its title is meta."""
from html.parser import HTMLParser

from pipelinefile import Doc, Result, Skip, module


@module
def web(doc: Doc) -> Result:
    reader = Reader()
    reader.feed(doc.bytes().decode("utf-8", "replace"))
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    text = "\n".join(line for line in lines if line)
    if not text:
        raise Skip("no text")
    return Result(text + "\n", meta={"title": " ".join("".join(reader.title).split())})


class Reader(HTMLParser):
    HIDDEN = {"script", "style"}
    BREAKS = {"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "pre", "dt", "dd", "ul", "ol"}

    def __init__(self):
        super().__init__()
        self.parts, self.title, self.hidden, self.in_title = [], [], 0, False

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in self.HIDDEN
        self.in_title = tag == "title"
        if tag in self.BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in self.HIDDEN
        self.in_title = False

    def handle_data(self, data):
        if self.in_title:
            self.title.append(data)
        elif not self.hidden:
            self.parts.append(data)
