//go:build race

package alerting

// The race detector makes everything ten times slower; the orders of a storm are no question of races.
const fewer = 20
