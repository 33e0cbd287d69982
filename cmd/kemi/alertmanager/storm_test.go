package alertmanager_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// hall is a core switch with 40 racks of 40 servers with five VMs each, as targets without checks.
func hall() (ids []string, yaml string) {
	var b strings.Builder
	b.WriteString(`{"classes":{"core":{},"switch":{},"server":{},"vm":{}},"targets":[`)
	add := func(class, team, id, relation, need string) {
		if len(ids) > 0 {
			b.WriteString(",\n")
		}
		ids = append(ids, id)
		fmt.Fprintf(&b, `{"id":%q,"class":%q,"team":%q,"address":"%s.example.org"`, id, class, team, id)
		if need != "" {
			fmt.Fprintf(&b, `,"relations":{%q:[%q]}`, relation, need)
		}
		b.WriteString("}")
	}
	add("core", "network", "core-1", "", "")
	for r := range 40 {
		tor := fmt.Sprintf("tor-%02d", r)
		add("switch", "network", tor, event.ConnectedTo, "core-1")
		for s := range 40 {
			server := fmt.Sprintf("srv-%02d-%02d", r, s)
			add("server", "platform", server, event.ConnectedTo, tor)
			for v := range 5 {
				add("vm", "platform", fmt.Sprintf("vm-%02d-%02d-%d", r, s, v), event.RunsOn, server)
			}
		}
	}
	b.WriteString("]}\n")
	return ids, b.String()
}

// A core switch fails, and somebody else's monitoring says so of everything behind it, in any order: one page, the right
// cause, and one page that it is over.
func TestIntegrationTheStormThroughTheAPIIsOnePage(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: takes half a minute")
	}
	ids, targets := hall()
	if len(ids) != 9641 {
		t.Fatalf("%d targets", len(ids))
	}
	r := run(t, `
cmdb: [{file: {path: targets.json}}]
receivers: {net: {inbox: {}}, plat: {inbox: {}}, rest: {inbox: {}}}
teams: {network: {receiver: net}, platform: {receiver: plat}, default: {receiver: rest}}
alerting: {group_wait: 2s, settle: 45s}
series: []
`, map[string]string{"targets.json": targets})
	count := func(state string) (n int) {
		r.app.Model().Read(func(s *view.State) { n = len(s.Alerts(view.Filter{State: state})) })
		return n
	}
	within(t, time.Minute, "the targets", func() error {
		n := 0
		r.app.Model().Read(func(s *view.State) { n = len(s.Targets(view.Filter{})) })
		if n != len(ids) {
			return fmt.Errorf("%d of %d", n, len(ids))
		}
		return nil
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	// send says something of every target in any order, so many in a request, within some seconds.
	send := func(atOnce int, more ...string) {
		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for some := range slices.Chunk(ids, atOnce) {
			var all []string
			for _, id := range some {
				all = append(all, one(ls{"alertname": "HostDown", "target": id, "severity": "critical"}, more...))
			}
			r.post(list(all...))
			<-pace.C
		}
	}
	began := time.Now()
	send(64, "endsAt", when(time.Hour)) // As Prometheus sends them.
	t.Logf("%d alerts were posted in %s", len(ids), time.Since(began))
	within(t, time.Minute, "one incident explains everything", func() error {
		var incidents []*event.Incident
		r.app.Model().Read(func(s *view.State) { incidents = s.Incidents(view.Filter{State: "open"}) })
		if n := count("firing"); n != len(ids) || len(incidents) != 1 || incidents[0].SuppressedTotal != len(ids)-1 {
			return fmt.Errorf("%d alerts fire, %d incidents are open", n, len(incidents))
		}
		return nil
	})
	within(t, 30*time.Second, "a page", func() error {
		if len(r.pages("net", "plat", "rest")) == 0 {
			return fmt.Errorf("nobody was told")
		}
		return nil
	})
	<-time.After(5 * time.Second) // As long as anything waits before it is told.
	all := r.pages("net", "plat", "rest")
	if len(all) != 1 || all[0].Page.Snapshot.Cause != "core-1" || all[0].Page.Receiver != "net" {
		t.Fatalf("told:\n%s", told(all))
	}
	t.Logf("%s, %s after the first alert", all[0].Page.Title, all[0].Received.Sub(began))
	send(640, "endsAt", when(-time.Second), "startsAt", when(-time.Hour))
	within(t, 2*time.Minute, "the page that it is over", func() error {
		if n := count("firing"); n != 0 || len(r.pages("net")) < 2 {
			return fmt.Errorf("%d alerts fire", n)
		}
		return nil
	})
	if all = r.pages("net", "plat", "rest"); len(all) != 2 || all[1].Page.Kind != event.PageResolved {
		t.Errorf("told:\n%s", told(all))
	}
}
