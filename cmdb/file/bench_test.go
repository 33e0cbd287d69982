package file_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/cmdb/file"
	"kemi.dev/kemi/cmdb/source"
)

// BenchmarkList10k reads ten thousand targets of one line each.
func BenchmarkList10k(b *testing.B) {
	dir := b.TempDir()
	var text strings.Builder
	text.WriteString("classes: {vm: {checks: [{kind: snmp, every: 60s}], labels: {tier: compute}}}\ntargets:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {id: vm-%05d, class: vm, address: \"10.0.%d.%d:161\", labels: {site: dc%d, rack: r%d}, relations: {runs_on: vm-%05d}}\n",
			i, i/250, i%250, i%4, i%40, i/20)
	}
	save(b, filepath.Join(dir, "t.yaml"), text.String())
	c := file.Default()
	c.Path.Text = "t.yaml"
	s := file.New(c, source.Env{Dir: dir})
	b.ReportAllocs()
	for b.Loop() {
		if found, problems := s.List(b.Context()); len(found) != 10_000 {
			b.Fatal(problems)
		}
	}
}
