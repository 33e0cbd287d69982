package route

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkMatch routes an alert through a tree of 100 teams with 3 routes each; the alert's team is the last.
func BenchmarkMatch(b *testing.B) {
	var text strings.Builder
	text.WriteString("receiver: mail\nroutes:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - {matchers: ['team=\"t%d\"'], receiver: owner, routes: [{matchers: [severity=critical], receiver: pager, continue: true}, {matchers: ['severity=~\"warn.*\"'], receiver: chat}, {matchers: [severity=info], receiver: hook}]}\n", i)
	}
	tree := tree(b, text.String())
	ls := labelsOf("alertname=LinkDown", "team=t99", "severity=warning", "target=tor-1", "site=dc1")
	b.ReportAllocs()
	for b.Loop() {
		if m := tree.Match(ls); len(m) != 1 || m[0].Receiver != "chat" {
			b.Fatal(m)
		}
	}
}
