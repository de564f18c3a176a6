module coracle.dev/samples/hello

go 1.24
