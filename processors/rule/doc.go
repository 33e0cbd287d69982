// Package rule says of every series whether a rule's condition holds.
//
// In: Prometheus rule files; Readings, from the bus, in order per target; Targets, to know which ones left. Out:
// Findings, on change and refreshed while they fire; whether each target is reachable; the canary's.
// It promises three states, not two: missing data is unknown, and unknown neither fires nor resolves anything; that
// the same readings give the same findings with the same identities, also through kill -9 and reload; that what
// its expressions select and compute is what Prometheus would. What it does not support is refused with its place.
// It never queries a store, never aggregates across targets and never decides who is told.
package rule
