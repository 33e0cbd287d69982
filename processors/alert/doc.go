// Package alert deduplicates Findings into Alerts.
//
// In: Findings, from the bus, in order per domain; the newest Alert of each problem, when a partition is taken over; what
// targets are called, for problems that others told of.
// Out: an Alert on every transition of a problem, and once a day while it fires, so that it is never forgotten.
// It promises that one problem has one identity, whatever is repeated, late or replayed; that unknown never resolves
// anything; that what was said as firing is said as resolved when it is over, or, when it came from elsewhere, when nobody
// says it again.
// It never decides who is told, never groups and never suppresses.
package alert
