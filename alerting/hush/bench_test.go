package hush

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// loaded is ten thousand silences as a large site has them: most of one alert on one instance, some of a rack, a team, a
// list of instances, a few of a pattern; one in ten recurs and is inherited, one in ten is over.
func loaded(b *testing.B, n int) *Set {
	s := setOf(b)
	for i := range n {
		instance := fmt.Sprintf("srv-%d", i)
		one := silence(fmt.Sprintf("s%05d", i), eq("alertname", fmt.Sprintf("Alert%d", i%40)), eq("instance", instance), eq("severity", "warning"))
		switch i % 10 {
		case 1:
			one.Matchers = []event.Matcher{eq("alertname", "HostDown"), eq("target", instance)}
			one.Kind, one.Inherit, one.Recurs, one.LastsSeconds = event.MaintenanceWindow, true, "FREQ=WEEKLY;BYDAY=SU,MO", 7200
			one.EndsAt, one.Timezone = time.Time{}, "Europe/Berlin"
		case 2:
			one.Matchers = []event.Matcher{{Name: "instance", Value: instance + "|" + instance + "a|" + instance + "b", Regex: true}}
		case 3:
			one.Matchers = []event.Matcher{eq("team", fmt.Sprintf("team%d", i%500)), {Name: "alertname", Value: "Disk.*", Regex: true}, eq("rack", fmt.Sprintf("r%d", i))}
		case 4:
			one.EndsAt = noon().Add(-time.Minute)
		}
		if i%1000 == 5 {
			one.Matchers = []event.Matcher{{Name: "instance", Value: instance + "-.*", Regex: true}}
		}
		if err := s.Put(one); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkWhyWithTenThousandSilences(b *testing.B) {
	s, now := loaded(b, 10_000), noon()
	find := world(nil)
	for name, of := range map[string]Subject{
		"silenced":  {Labels: labelsOf("alertname", "Alert0", "instance", "srv-120", "severity", "warning", "team", "team3", "site", "dc1", "rack", "r9")},
		"unheard":   {Labels: labelsOf("alertname", "Alert0", "instance", "srv-121", "severity", "critical", "team", "team3", "site", "dc1", "rack", "r9")},
		"inherited": about(find, "shop-1", "alertname", "HostDown", "severity", "critical"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Why(of, now)
			}
		})
	}
}

func BenchmarkTenThousandAlertsAskedOnce(b *testing.B) {
	s, now := loaded(b, 10_000), noon()
	var all []Subject
	for i := range 10_000 {
		all = append(all, Subject{Labels: labelsOf("alertname", fmt.Sprintf("Alert%d", i%40), "instance", fmt.Sprintf("srv-%d", i), "severity", "warning", "team", "team3")})
	}
	for b.Loop() {
		for _, of := range all {
			s.Why(of, now)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s := loaded(b, 10_000)
	one := silence("more", eq("alertname", "Alert1"), eq("instance", "srv-1"))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(one); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s, now := loaded(b, 10_000), noon()
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			s.Next(now)
		}
	})
	b.Run("looked for", func(b *testing.B) {
		for b.Loop() {
			s.soon.Store(nil)
			s.Next(now)
		}
	})
	b.Run("every window moved on", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Next(now.Add(time.Duration(i) * 24 * time.Hour))
		}
	})
}

func BenchmarkInhibitorInAStorm(b *testing.B) {
	s := mustYAML(b, `inhibit_rules: [{source_matchers: [severity="critical"], target_matchers: [severity="warning"]}, {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [rack]}]`)
	now := noon()
	var all []event.Labels
	for i := range 10_000 {
		all = append(all, labelsOf("alertname", "A", "severity", []string{"critical", "warning"}[i%2], "instance", fmt.Sprintf("i%d", i), "rack", fmt.Sprintf("r%d", i%40)))
	}
	for b.Loop() {
		in := s.Inhibitor()
		for i, ls := range all {
			in.Set(fmt.Sprintf("%05d", (i*7919)%10_000), ls)
			s.Why(Subject{Labels: ls, Sources: in}, now)
		}
	}
}
