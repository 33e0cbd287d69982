// Package eventpb is the wire form of jobs and readings, generated from event.proto by `make generate`.
//
// In and out: protobuf. It promises that field numbers are never reused.
// It never holds anything by hand but this comment; package event is what people use.
package eventpb
