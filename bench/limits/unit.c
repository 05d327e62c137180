// unit IN OUT: copies one file; without arguments does nothing. The cheapest program that a build tool can run.
#include <fcntl.h>
#include <unistd.h>

int main(int count, char **words) {
    static char buffer[1 << 16];
    if (count < 3) return 0;
    int from = open(words[1], O_RDONLY), to = open(words[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (from < 0 || to < 0) return 1;
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;)
        if (write(to, buffer, got) != got) return 1;
    return 0;
}
