// Command asyncapi writes docs/events.asyncapi.yaml: what stands on every topic, for those who read it.
//
// In: the words of bus/event (their types by reflection, their comments and constants from the source, their examples from
// the golden files), the topics, and eventpb's .proto. Out: an AsyncAPI 3 document, the same for the same source.
// It promises that nothing in the document is written by hand that the code says already. Run it from the top of the
// repository: make generate does.
// With -release it also keeps the document and the protobuf descriptor as those of the last version, beside the golden
// files, unless readers of the version before would break.
// It never decides what breaks a reader: internal/compat does.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "docs/events.asyncapi.yaml", "where to write the document")
	released := flag.Bool("release", false, "also keep it as the last version's, which later ones are compared with")
	flag.Parse()
	if err := run(*out, *released); err != nil {
		fmt.Fprintf(os.Stderr, "asyncapi: %v\n", err)
		os.Exit(1)
	}
}

func run(out string, released bool) error {
	doc, err := generate(".")
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, doc, 0o644); err != nil || !released {
		return err
	}
	return release(".", doc)
}
