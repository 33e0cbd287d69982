// Package docs carries the documents that a running Kemi shows.
//
// In: nothing. Out: the AsyncAPI document of the events.
// It promises that the binary has what the repository shows. It never reads anything at run time.
package docs

import _ "embed"

// EventsAsyncAPI is what stands on every topic, as an AsyncAPI 3 document in YAML; cmd/kemi/asyncapi makes it.
//
//go:embed events.asyncapi.yaml
var EventsAsyncAPI string
