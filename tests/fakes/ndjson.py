"""For schemathesis: how a request of JSON lines is written. Half of what it makes up is put behind a good setup."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    text = value if isinstance(value, str) else str(value)
    if len(text) % 2:
        text = '{"setup":{}}\n' + text
    return text.encode("utf-8", "surrogatepass")
