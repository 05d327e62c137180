"""The text of a web page."""
from html.parser import HTMLParser

from pipelinefile import Doc, module


@module
def web(doc: Doc) -> str:
    reader = Reader()
    reader.feed(doc.bytes().decode("utf-8", "replace"))
    reader.close()
    return "\n".join(line for line in (" ".join(line.split()) for line in "".join(reader.parts).split("\n")) if line) + "\n"


class Reader(HTMLParser):
    HIDDEN = {"script", "style", "title"}
    BREAKS = {"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "pre", "dt", "dd", "ul", "ol"}

    def __init__(self):
        super().__init__()
        self.parts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in self.HIDDEN
        if tag in self.BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        self.hidden -= tag in self.HIDDEN

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)
