// Package expr evaluates PromQL over the series of one target, in memory.
//
// In: the text of an expression, the series it selects with their newest values and windows, and a time in Unix
// milliseconds. Out: for every series of the result a value and one of three states: true, false or unknown.
// It promises that what it calls present is exactly what Prometheus' engine would return at that time, that an
// evaluation allocates nothing once its scratch space has grown, and that what it does not support is refused when
// the expression is parsed, with the place in the text.
// It never reads a clock, never does I/O and keeps nothing between evaluations but what the caller gave it.
package expr
