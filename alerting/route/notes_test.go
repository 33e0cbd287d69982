package route

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/internal/conf"
)

// What a tree says in vain is noted once for each key, where it stands; what does something is not.
func TestWhatATreeSaysInVainIsNoted(t *testing.T) {
	for text, want := range map[string][]string{
		"route: {receiver: chat, group_wait: 30s, repeat_interval: 4h}": nil,
		"other: 1": nil,
		`
route:
  receiver: chat
  group_by: [alertname]
  routes:
    - {group_by: ['...'], group_interval: 1m}
    - {group_by: [cluster], matchers: [a="b"]}
`: {"route.group_by", "route.routes[0].group_interval"},
		"route: {repeat_interval: 4h}": {"route.repeat_interval"},
		"route: {receiver: owner, repeat_interval: 4h, routes: [{receiver: chat}]}":                      nil,
		"route: {receiver: owner, repeat_interval: 4h, routes: [{receiver: chat, repeat_interval: 1h}]}": {"route.repeat_interval"},
		"route: {receiver: [owner, chat], repeat_interval: 4h}":                                          nil,
		"route: {receiver: chat, routes: [{repeat_interval: 4h}]}":                                       nil,
		"route: {receiver: chat, routes: [{receiver: 'team:net', repeat_interval: 4h}]}":                 {"route.routes[0].repeat_interval"},
	} {
		nodes, problems := conf.Parse("kemi.yaml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var got []string
		for _, n := range Notes(nodes[0].Get("route")) {
			got = append(got, n.Path)
			if n.At.Line() == 0 || n.What == "" || n.Do == "" {
				t.Errorf("%s: %+v", text, n)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
}
