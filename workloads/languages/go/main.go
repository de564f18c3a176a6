// A command: says hello, or counts the words of a file of its volume, or ends with the code that it is told.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Printf("Hello from Go, %s!\n", os.Getenv("NAME"))
		return
	}
	switch os.Args[1] {
	case "words":
		text, err := os.ReadFile(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(len(strings.Fields(string(text))))
	case "exit":
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			code = 2
		}
		os.Exit(code)
	}
}
