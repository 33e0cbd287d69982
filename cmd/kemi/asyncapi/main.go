// Command asyncapi writes docs/events.asyncapi.yaml: what stands on every topic, for those who read it.
//
// In: the words of bus/event (their types by reflection, their comments and constants from the source, their examples from
// the golden files), the topics, and eventpb's .proto. Out: an AsyncAPI 3 document, the same for the same source.
// It promises that nothing in the document is written by hand that the code says already. Run it from the top of the
// repository: make generate does.
// It never decides whether a change is allowed: internal/compat does, against the document of the last release.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "docs/events.asyncapi.yaml", "where to write the document")
	flag.Parse()
	doc, err := generate(".")
	if err == nil {
		err = os.WriteFile(*out, doc, 0o644)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "asyncapi: %v\n", err)
		os.Exit(1)
	}
}
