package conf

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkTargets reads 1,000 targets as an inventory lists them. Nearly all of the time is the YAML parser's.
func BenchmarkTargets(b *testing.B) {
	var text strings.Builder
	text.WriteString("targets:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {id: tor-%d, class: switch, address: \"127.1.0.2:1161\", labels: {site: dc1}, relations: {connected_to: [core-1]}}\n", i)
	}
	data := []byte(text.String())
	type target struct {
		ID, Class, Address string
		Labels             map[string]string
		Relations          map[string][]string
	}
	b.ReportAllocs()
	for b.Loop() {
		nodes, problems := Parse("targets.yaml", data)
		var c struct{ Targets []target }
		if err := append(problems, nodes[0].Into(&c)...).Err(); err != nil || len(c.Targets) != 1000 {
			b.Fatal(err)
		}
	}
}
