//go:build race

package alerting

// The race detector makes everything ten times slower; the orders of a storm and the moments of a kill
// are no question of races.
const fewer = 20
