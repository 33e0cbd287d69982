//go:build !race

package alerting

const fewer = 1
