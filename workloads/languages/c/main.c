// A command: prints its environment's NAME and a file, or ends with the code that it is told.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "exit") == 0) return atoi(argv[2]);
  const char *name = getenv("NAME");
  printf("Hello from C, %s!\n", name ? name : "nobody");
  if (argc == 3 && strcmp(argv[1], "cat") == 0) {
    FILE *file = fopen(argv[2], "r");
    if (!file) {
      perror(argv[2]);
      return 1;
    }
    for (int letter; (letter = fgetc(file)) != EOF;) putchar(letter);
    fclose(file);
  }
  return 0;
}
