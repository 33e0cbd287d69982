package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/nats"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/alert"
)

// voice is the way from a finding to a page: the rooms alert and alerting on the embedded NATS server, with an inbox.
type voice struct {
	*prometheus.Registry
	b      *testing.B
	bus    *bus.Bus
	meters map[string]*prometheus.Registry // One for each metric, by its name.
	boxes  inbox.Set
}

// Register implements prometheus.Registerer.
func (v *voice) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 10)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		if _, name, is := strings.Cut(d.String(), `fqName: "`); is {
			name, _, _ = strings.Cut(name, `"`)
			v.meters[name] = prometheus.NewRegistry()
			v.meters[name].MustRegister(c)
		}
	}
	return v.Registry.Register(c)
}

// newVoice starts both rooms; policy is what they are told beside group_wait: 2s.
func newVoice(b *testing.B, durability event.Durability, policy string) *voice {
	v := &voice{b: b, Registry: prometheus.NewRegistry(), meters: map[string]*prometheus.Registry{}}
	scope := obs.New(slog.New(slog.DiscardHandler), v)
	d, err := nats.New(nats.Config{Embedded: true}, b.TempDir(), scope)
	if err != nil {
		b.Fatal(err)
	}
	topics := map[string]event.Durability{}
	for _, t := range []string{"findings.v1", "alerts.v1", "incidents.v1", "pages.v1"} {
		topics[t] = durability
	}
	v.bus = bus.New(d, bus.Settings{Durability: topics}, scope)
	if err := v.bus.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	var c struct {
		Receivers, Teams map[string]conf.Node
		Alerting         conf.Node
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte("receivers: {box: {inbox: {}}}\nteams: {net: {receiver: box}, default: {receiver: box}}\nalerting: {group_wait: 2s"+policy+"}\n"))
	if err := append(problems, nodes[0].Into(&c)...).Err(); err != nil {
		b.Fatal(err)
	}
	told, problems := alerting.New(alerting.Options{Bus: v.bus, Scope: scope, Receivers: c.Receivers, Teams: c.Teams, Policy: c.Alerting, Inboxes: &v.boxes})
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	judge, err := alert.New(alert.Options{Bus: v.bus, Scope: scope})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{told.Run, judge.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	b.Cleanup(func() {
		cancel()
		running.Wait()
		v.bus.Close()
	})
	return v
}

func (v *voice) say(all ...event.Event) {
	for len(all) > 0 {
		n := min(len(all), 500)
		if err := v.bus.Publish(v.b.Context(), all[:n]...); err != nil {
			v.b.Fatal(err)
		}
		all = all[n:]
	}
}

// metric is the sum of a metric over those of its labels that have a value. It gathers that one and no other, so that
// asking for it often costs little of what is measured.
func (v *voice) metric(name, value string) (sum float64) {
	if v.meters[name] == nil {
		v.b.Fatalf("there is no metric %s", name)
	}
	families, err := v.meters[name].Gather()
	if err != nil {
		v.b.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			ours := value == ""
			for _, l := range m.Label {
				ours = ours || l.GetValue() == value
			}
			if ours {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// until waits by the clock, which is what these rooms live by.
func (v *voice) until(what string, done func() bool) {
	v.b.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		if done() {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	v.b.Fatalf("not within a minute: %s: %v transitions, %v incidents are open, %v pages are sent and %v unsent", what,
		v.metric("kemi_alert_transitions_total", ""), v.metric("kemi_alerting_open_incidents", ""), v.metric("kemi_alerting_pages_total", "sent"),
		v.metric("kemi_alerting_unsent_pages", ""))
}

func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// wire is the CPU time of writing and reading n findings once, with nothing else: other machines, and other loads on this
// one, are compared by it.
func wire(b *testing.B, n int) time.Duration {
	f := finding("srv-1", "HostDown", event.VerdictFiring, time.Now(), time.Now())
	began := used()
	for range n {
		data, err := f.Encode()
		if err == nil {
			err = new(event.Finding).Decode(data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return used() - began
}

// durable are the two durabilities of the embedded server.
var durable = map[string]event.Durability{"process": event.Process, "power": event.Power}

func node(id, class string, needs ...string) *event.Target {
	t := &event.Target{ID: id, Class: class, Team: "net", Lifecycle: event.Active, Relations: map[string][]event.Need{}}
	for _, n := range needs {
		t.Relations[event.ConnectedTo] = append(t.Relations[event.ConnectedTo], event.Need{n})
	}
	t.Version = t.ComputeVersion()
	return t
}

// finding says of a target that a rule fires, or does so no more.
func finding(id, name string, verdict event.Verdict, since, at time.Time) *event.Finding {
	return &event.Finding{
		Rule: "fleet/" + name, Alert: name, Verdict: verdict, Target: id, Team: "net", Domain: event.DefaultDomain, Since: since, At: at, Value: 1,
		Labels:      event.LabelsOf(map[string]string{"alertname": name, "target": id, "severity": "critical", "site": "dc1", "job": "fleet"}),
		Annotations: map[string]string{"summary": id + " does not answer", "runbook": "https://wiki.example.org/runbooks/" + name},
		Reason:      event.Reason{Code: "rule", Text: "up == 0"},
	}
}

// BenchmarkTransitions has 20,000 alerts fire and resolve, from the finding on the bus to the stored outcome of the last
// page: of 200 switches with 99 servers each, of which each switch's failure is told; and, of 2,000 targets, each by itself.
func BenchmarkTransitions(b *testing.B) {
	for _, each := range []bool{false, true} {
		for _, durability := range []string{"process", "power"} {
			b.Run(fmt.Sprintf("%s/%s", map[bool]string{false: "one in a hundred told", true: "each told"}[each], durability), func(b *testing.B) {
				transitions(b, durability, each)
			})
		}
	}
}

func transitions(b *testing.B, durability string, each bool) {
	// What is measured is the cost of each page: nothing is told as one because it resembles another.
	v := newVoice(b, durable[durability], ", flap_count: 1000, similar_count: 1000000")
	var targets []event.Event
	var ids []string
	name, racks, servers := "HostDown", 200, 99
	if each {
		name, racks = "DiskFull", 20
	}
	for r := range racks {
		tor := fmt.Sprint("tor-", r)
		ids = append(ids, tor)
		targets = append(targets, node(tor, "switch"))
		for s := range servers {
			id := fmt.Sprintf("srv-%d-%d", r, s)
			ids = append(ids, id)
			targets = append(targets, node(id, "server", tor))
		}
	}
	v.say(targets...)
	v.until("both rooms run", func() bool {
		v.say(finding("warm", "Warm", event.VerdictOK, time.Now(), time.Now()))
		return v.metric("kemi_bus_handled_total", "alert") > 0
	})
	pages := racks
	if each {
		pages = len(ids)
	}
	round := func() (cpu, wall time.Duration) {
		transitions, sent := v.metric("kemi_alert_transitions_total", ""), v.metric("kemi_alerting_pages_total", "sent")
		began, start := used(), time.Now()
		var some []event.Event
		for _, id := range ids {
			some = append(some, finding(id, name, event.VerdictFiring, start, start))
		}
		v.say(some...)
		fmt.Println("said", time.Since(start))
		v.until("everybody is told", func() bool { return v.metric("kemi_alerting_pages_total", "sent") >= sent+float64(pages) })
		fmt.Println("told", time.Since(start), used()-began)
		some, over := nil, time.Now()
		for _, id := range ids {
			some = append(some, finding(id, name, event.VerdictOK, over, over))
		}
		v.say(some...)
		fmt.Println("said", time.Since(start))
		v.until("everybody is told that it is over", func() bool {
			return v.metric("kemi_alerting_pages_total", "sent") >= sent+2*float64(pages) && v.metric("kemi_alerting_open_incidents", "") == 0 && v.metric("kemi_alerting_unsent_pages", "") == 0
		})
		if n := v.metric("kemi_alert_transitions_total", "") - transitions; int(n) != 2*len(ids) {
			b.Fatalf("%v transitions, not %d", n, 2*len(ids))
		}
		if n := v.metric("kemi_alerting_pages_total", "sent") - sent; int(n) != 2*pages {
			b.Fatalf("%v pages, not %d", n, 2*pages)
		}
		return used() - began, time.Since(start)
	}
	var cpu, wall, floor time.Duration
	for b.Loop() {
		floor += wire(b, len(ids))
		c, w := round()
		cpu, wall = cpu+c, wall+w
		floor += wire(b, len(ids))
	}
	n := float64(b.N * 2 * len(ids))
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-µs/transition")
	b.ReportMetric(2*n/cpu.Seconds(), "transitions/s-on-2-cores")
	b.ReportMetric(n/wall.Seconds(), "transitions/s-here")
	b.ReportMetric(cpu.Seconds()/floor.Seconds(), "×wire")
}

// BenchmarkStormOverTheBus is 10,000 alerts of a core switch's failure in any order, from the findings to the stored
// outcome of the one page.
func BenchmarkStormOverTheBus(b *testing.B) {
	for _, durability := range []string{"process", "power"} {
		b.Run(durability, func(b *testing.B) {
			v := newVoice(b, durable[durability], ", flap_count: 1000")
			targets := []event.Event{node("core", "switch")}
			ids := []string{"core"}
			for i := range 9999 {
				id, need := fmt.Sprint("vm-", i), fmt.Sprint("srv-", i%1600)
				switch {
				case i < 40:
					id, need = fmt.Sprint("tor-", i), "core"
				case i < 1640:
					id, need = fmt.Sprint("srv-", i-40), fmt.Sprint("tor-", i%40)
				}
				ids = append(ids, id)
				targets = append(targets, node(id, "server", need))
			}
			v.say(targets...)
			v.until("both rooms run", func() bool {
				v.say(finding("warm", "Warm", event.VerdictOK, time.Now(), time.Now()))
				return v.metric("kemi_bus_handled_total", "alert") > 0
			})
			var cpu, floor time.Duration
			for b.Loop() {
				floor += wire(b, len(ids)/2)
				handled, sent := v.metric("kemi_alert_transitions_total", "firing"), v.metric("kemi_alerting_pages_total", "sent")
				began, now := used(), time.Now()
				var some []event.Event
				for _, k := range rand.Perm(len(ids)) {
					some = append(some, finding(ids[k], "HostDown", event.VerdictFiring, now, now))
				}
				v.say(some...)
				v.until("one page", func() bool {
					return v.metric("kemi_alerting_pages_total", "sent") > sent && v.metric("kemi_alert_transitions_total", "firing") == handled+float64(len(ids))
				})
				cpu += used() - began
				floor += wire(b, len(ids)-len(ids)/2)
				some = nil
				for _, id := range ids {
					some = append(some, finding(id, "HostDown", event.VerdictOK, time.Now(), time.Now()))
				}
				v.say(some...)
				v.until("it is over", func() bool { return v.metric("kemi_alerting_open_incidents", "") == 0 })
				if n := v.metric("kemi_alerting_pages_total", "sent") - sent; n != 2 {
					b.Fatalf("%v pages, not 2", n)
				}
			}
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/storm")
			b.ReportMetric(cpu.Seconds()/floor.Seconds(), "×wire")
		})
	}
}
