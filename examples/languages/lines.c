/* Keeps the lines of a text that are long enough. A worker in C, without a JSON library: cc -O2 -o lines lines.c
 * The module is lines(); the rest reads and writes JSON strings. What goes to stderr is the document's log. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char *bytes; size_t length; } text;
static long min_len = 3;

/* Writes a text as a JSON string. */
static void put(const char *bytes, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = bytes[i];
        if (c == '"' || c == '\\') printf("\\%c", c);
        else if (c < 0x20) printf("\\u%04x", c);
        else putchar(c);
    }
    putchar('"');
}

/* The module: counts characters, not bytes. */
static void lines(const char *id, text in) {
    text out = { malloc(in.length + 1), 0 };
    for (size_t from = 0, to; from < in.length; from = to + 1) {
        long characters = 0;
        for (to = from; to < in.length && in.bytes[to] != '\n'; to++) characters += (in.bytes[to] & 0xc0) != 0x80;
        if (characters < min_len) continue;
        memcpy(out.bytes + out.length, in.bytes + from, to - from);
        out.length += to - from;
        out.bytes[out.length++] = '\n';
    }
    printf("{\"id\":%s,\"output\":{\"text\":", id);
    put(out.bytes, out.length);
    puts("}}");
    free(out.bytes);
}

static void refuse(const char *id, const char *why) {
    printf("{\"id\":%s,\"error\":{\"type\":\"Unreadable\",\"message\":\"%s\"}}\n", id, why);
}

/* Where the value of a key of this object begins; NULL if it has none. */
static char *value(char *object, const char *key) {
    size_t length = strlen(key);
    int depth = 0;
    for (char *c = object; c && *c; c++) {
        if (*c == '{' || *c == '[') depth++;
        else if ((*c == '}' || *c == ']') && --depth == 0) return NULL;
        else if (*c == '"') {
            char *name = c + 1;
            while (*++c && *c != '"') c += *c == '\\';
            if (depth == 1 && c == name + length && !strncmp(name, key, length)) {
                char *colon = c + 1 + strspn(c + 1, " ");
                if (*colon == ':') return colon + 1 + strspn(colon + 1, " ");
            }
        }
    }
    return NULL;
}

/* Reads the JSON string at `at`, in place. */
static text unescaped(char *at) {
    text out = { at, 0 };
    for (char *c = at + 1; *c != '"'; c++) {
        unsigned long code = (unsigned char)*c;
        if (*c != '\\') { out.bytes[out.length++] = *c; continue; }
        switch (*++c) {
            case 'n': code = '\n'; break; case 't': code = '\t'; break; case 'r': code = '\r'; break;
            case 'b': code = '\b'; break; case 'f': code = '\f'; break;
            case 'u': {
                unsigned high = 0, low = 0;
                sscanf(c + 1, "%4x", &high);
                c += 4;
                code = high;
                if (high >> 10 == 0x36 && c[1] == '\\' && sscanf(c + 3, "%4x", &low) == 1)
                    code = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff)), c += 6;
                break;
            }
            default: code = (unsigned char)*c;
        }
        if (code < 0x80) out.bytes[out.length++] = code;
        else {
            if (code < 0x800) out.bytes[out.length++] = 0xc0 | code >> 6;
            else {
                if (code < 0x10000) out.bytes[out.length++] = 0xe0 | code >> 12;
                else out.bytes[out.length++] = 0xf0 | code >> 18, out.bytes[out.length++] = 0x80 | (code >> 12 & 63);
                out.bytes[out.length++] = 0x80 | (code >> 6 & 63);
            }
            out.bytes[out.length++] = 0x80 | (code & 63);
        }
    }
    return out;
}

static void document(char *id, char *line) {
    char *at;
    if ((at = value(line, "text"))) return lines(id, unescaped(at));
    if (!(at = value(line, "path"))) return refuse(id, "bytes that are no text");
    text path = unescaped(at);
    path.bytes[path.length] = 0;
    FILE *file = fopen(path.bytes, "rb");
    if (!file) return refuse(id, "the file cannot be read");
    text in = { NULL, 0 };
    for (size_t got = 1; got; in.length += got) {
        in.bytes = realloc(in.bytes, in.length + 65536);
        got = fread(in.bytes + in.length, 1, 65536, file);
    }
    fclose(file);
    lines(id, in);
    free(in.bytes);
}

int main(void) {
    char *line = NULL, *at;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        if (value(line, "describe"))
            puts("{\"describe\":{\"name\":\"lines\",\"params\":{\"min_len\":{\"type\":\"int\",\"default\":3}},\"takes\":\"doc\"}}");
        else if ((at = value(line, "setup"))) {
            if ((at = value(value(at, "params"), "min_len"))) min_len = atol(at);
            puts("{\"ready\":1}");
        } else if ((at = value(line, "id"))) {
            char id[32] = { 0 };
            memcpy(id, at, strspn(at, "0123456789") % sizeof id);
            document(id, line);
        }
        fflush(stdout);
    }
    return 0;
}
