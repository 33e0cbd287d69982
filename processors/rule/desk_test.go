package rule_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/rule"
)

const propertyRules = `
groups:
- name: g
  rules:
  - {alert: Down, expr: ifOperStatus == 2 and ifAdminStatus == 1, for: 25s}
  - {alert: TargetDown, expr: up == 0, for: 15s}
  - {alert: Busy, expr: 'rate(ifHCInOctets[1m]) > 50', keep_firing_for: 15s}
  - {alert: Join, expr: 'ifOperStatus == 2 unless on(target) latency > 1'}
  - {alert: Or, expr: 'ifOperStatus == 2 or ifAdminStatus == 2', labels: {severity: '{{ if gt $value 1.0 }}a{{ else }}b{{ end }}'}}
`

func parse(t interface{ Fatal(...any) }, text string) *rule.Set {
	set, problems := rule.Parse("rules.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// readings draws what two checks of two targets found, with everything that goes wrong.
func readings(t *rapid.T) []*event.Reading {
	var out []*event.Reading
	octets := map[string]uint64{}
	for i := range rapid.IntRange(1, 60).Draw(t, "n") {
		target := rapid.SampledFrom([]string{"t1", "t2"}).Draw(t, "target")
		slot := epoch.Add(time.Duration(i) * time.Duration(rapid.SampledFrom([]int{5, 5, 5, 6}).Draw(t, "every")) * time.Second)
		r := &event.Reading{
			JobID: fmt.Sprint(i), Target: target, Check: "snmp", Status: event.StatusOK, Slot: slot, Interval: 10 * time.Second,
			Started: slot.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "late")) * time.Millisecond),
			Labels:  event.LabelsOf(map[string]string{"target": target, "class": "switch", "team": "a"}),
		}
		if rapid.IntRange(0, 3).Draw(t, "http") == 0 {
			r.Check = "http"
			r.Tables = []event.Table{{Name: "http", Rows: 1, Columns: []event.Column{{Name: "latency", Kind: event.Gauge, Gauges: []float64{float64(rapid.IntRange(0, 2).Draw(t, "latency"))}}}}}
		} else {
			tab := event.Table{Name: "if", Rows: 2, Index: []event.IndexColumn{{Name: "ifIndex", Values: []string{"1", "2"}}}}
			state := func(name string) event.Column {
				return event.Column{Name: name, Kind: event.Gauge, Gauges: []float64{float64(rapid.IntRange(1, 2).Draw(t, name)), 1}}
			}
			octets[target] += uint64(rapid.IntRange(0, 1000).Draw(t, "octets"))
			tab.Columns = []event.Column{state("ifOperStatus"), state("ifAdminStatus"), {Name: "ifHCInOctets", Kind: event.Counter, Counters: []uint64{octets[target], 1}}}
			if rapid.IntRange(0, 5).Draw(t, "missing") == 0 {
				tab.Columns[0].Missing = []uint32{0}
			}
			r.Tables = []event.Table{tab}
		}
		if r.Status = rapid.SampledFrom([]event.Status{event.StatusOK, event.StatusOK, event.StatusOK, event.StatusOK, event.StatusTimeout, event.StatusLate}).Draw(t, "status"); !r.Status.Up() {
			r.Tables = nil
		}
		out = append(out, r)
	}
	return out
}

// transitions are the findings without those that only repeat the last one of their instance.
func transitions(fs []*event.Finding) []string {
	last := map[string]event.Verdict{}
	var out []string
	for _, f := range fs {
		if f.Verdict == last[f.Key()] {
			continue
		}
		last[f.Key()] = f.Verdict
		out = append(out, fmt.Sprintf("%s %s %s %s since %s %s", f.At.Sub(epoch), f.Rule, f.Labels, f.Verdict, f.Since.Sub(epoch), f.Identity()))
	}
	return out
}

// Killed at any reading and started again from whatever was saved last, the desk says what it would have said.
func TestARestartChangesNothing(t *testing.T) {
	set := parse(t, propertyRules)
	rapid.Check(t, func(t *rapid.T) {
		all := readings(t)
		whole := rule.NewDesk(set)
		var want []*event.Finding
		for _, r := range all {
			whole.Reading(r)
			want = append(want, whole.Findings()...)
		}

		desk := rule.NewDesk(set)
		savedAt, saved := -1, map[uint8][]byte{}
		var got []*event.Finding
		for i, r := range all {
			desk.Reading(r)
			got = append(got, desk.Findings()...)
			if rapid.IntRange(0, 4).Draw(t, "save") == 0 {
				buckets, err := desk.Save(desk.Dirty(true), int64(i))
				if err != nil {
					t.Fatal(err)
				}
				for b := range saved {
					delete(saved, b)
				}
				for b, data := range buckets {
					saved[b] = data
				}
				savedAt = i
			}
			if rapid.IntRange(0, 9).Draw(t, "kill") == 0 {
				desk = rule.NewDesk(set)
				for _, data := range saved {
					if _, err := desk.Load(data, epoch); err != nil {
						t.Fatal(err)
					}
				}
				for k := range all[:i+1] { // What the door does: windows first, then what was not saved, silently.
					if k > savedAt {
						desk.Reading(all[k])
					} else {
						desk.Warm(all[k])
					}
				}
				if fs := desk.Findings(); len(fs) > len(want) {
					t.Fatalf("%d findings from a replay", len(fs))
				}
				desk.SayAgain()
			}
		}
		if diff := cmp.Diff(transitions(want), transitions(got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// The same reading given again changes nothing and says nothing.
func TestAReadingGivenTwiceSaysNothingNew(t *testing.T) {
	set := parse(t, propertyRules)
	rapid.Check(t, func(t *rapid.T) {
		desk := rule.NewDesk(set)
		for _, r := range readings(t) {
			desk.Reading(r)
			desk.Findings()
			desk.Reading(r)
			if again := desk.Findings(); len(again) > 0 {
				t.Fatalf("said again: %+v", again[0])
			}
		}
	})
}

// Nothing fires without data, and nothing that fired resolves without data: the verdicts of an instance follow each
// other as they must.
func TestVerdictsFollowEachOther(t *testing.T) {
	set := parse(t, propertyRules)
	rapid.Check(t, func(t *rapid.T) {
		desk := rule.NewDesk(set)
		last := map[string]*event.Finding{}
		for _, r := range readings(t) {
			desk.Reading(r)
			for _, f := range desk.Findings() {
				if f.Rule == event.RuleReachable {
					continue
				}
				before, verdict := last[f.Key()], event.VerdictOK
				if before != nil {
					verdict = before.Verdict
					if !f.At.After(before.At) {
						t.Fatalf("%s is not after %s", f.At, before.At)
					}
				}
				allowed := map[event.Verdict][]event.Verdict{
					event.VerdictOK:      {event.VerdictPending, event.VerdictFiring},
					event.VerdictPending: {event.VerdictFiring, event.VerdictOK},
					event.VerdictFiring:  {event.VerdictFiring, event.VerdictUnknown, event.VerdictOK},
					event.VerdictUnknown: {event.VerdictFiring, event.VerdictUnknown, event.VerdictOK},
				}
				if !slices.Contains(allowed[verdict], f.Verdict) {
					t.Fatalf("%s after %s: %+v", f.Verdict, verdict, f)
				}
				if !r.Status.Up() && f.Verdict == event.VerdictOK && f.Rule == "g/Down" {
					t.Fatalf("resolved by a reading without data: %+v", f)
				}
				last[f.Key()] = f
			}
		}
	})
}

// A value that JSON cannot say does not stop a finding.
func TestInfiniteValuesCanBePublished(t *testing.T) {
	desk := rule.NewDesk(parse(t, "groups: [{name: g, rules: [{alert: A, expr: latency / 0 > 1}, {alert: B, expr: latency / 0 != latency - latency / 0}]}]"))
	for _, v := range []float64{1, -1, 0, math.NaN(), math.Inf(-1)} {
		desk.Reading(&event.Reading{
			JobID: "j", Target: "t", Check: "http", Status: event.StatusOK, Slot: epoch, Started: epoch.Add(time.Duration(v) * time.Second), Interval: time.Second,
			Labels: event.LabelsOf(map[string]string{"target": "t"}),
			Tables: []event.Table{{Name: "h", Rows: 1, Columns: []event.Column{{Name: "latency", Kind: event.Gauge, Gauges: []float64{v}}}}},
		})
	}
	fs := desk.Findings()
	if len(fs) < 2 {
		t.Fatalf("only %d findings", len(fs))
	}
	for _, f := range fs {
		if _, err := f.Encode(); err != nil {
			t.Error(err)
		}
	}
	if _, err := desk.Save(desk.Dirty(true), 1); err != nil {
		t.Error(err)
	}
}

// device makes the reading of a standard device: 11 columns of 50 interfaces and two more values.
func device(target string, i int) *event.Reading {
	slot := epoch.Add(time.Duration(i) * 10 * time.Second)
	r := &event.Reading{
		JobID: fmt.Sprint(target, i), Target: target, Check: "snmp", Status: event.StatusOK, Slot: slot, Started: slot, Interval: 10 * time.Second,
		Labels: event.LabelsOf(map[string]string{"target": target, "class": "switch", "team": "network", "site": "dc1"}),
	}
	const ports = 50
	ifs := event.Table{Name: "interfaces", Rows: ports, Index: []event.IndexColumn{{Name: "ifIndex"}, {Name: "ifName"}}}
	for p := range ports {
		ifs.Index[0].Values = append(ifs.Index[0].Values, fmt.Sprint(p+1))
		ifs.Index[1].Values = append(ifs.Index[1].Values, fmt.Sprintf("Ethernet%d", p+1))
	}
	for _, name := range []string{"ifHCInOctets", "ifHCOutOctets", "ifInErrors", "ifOutErrors", "ifInDiscards", "ifOutDiscards", "ifHCInUcastPkts", "ifHCOutUcastPkts"} {
		c := event.Column{Name: name, Kind: event.Counter, Counters: make([]uint64, ports)}
		for p := range c.Counters {
			c.Counters[p] = uint64(i * (p + 1) * 1000)
		}
		ifs.Columns = append(ifs.Columns, c)
	}
	for name, v := range map[string]float64{"ifOperStatus": 1, "ifAdminStatus": 1, "ifHighSpeed": 1000} {
		c := event.Column{Name: name, Kind: event.Gauge, Gauges: make([]float64, ports)}
		for p := range c.Gauges {
			c.Gauges[p] = v
		}
		ifs.Columns = append(ifs.Columns, c)
	}
	slices.SortFunc(ifs.Columns, func(a, b event.Column) int { return map[bool]int{true: -1, false: 1}[a.Name < b.Name] })
	r.Tables = []event.Table{ifs, {Name: "system", Rows: 1, Columns: []event.Column{
		{Name: "sysUpTime", Kind: event.Gauge, Gauges: []float64{float64(i)}}, {Name: "sysServices", Kind: event.Gauge, Gauges: []float64{1}},
	}}}
	return r
}

const standardRules = `
groups:
- name: g
  rules:
  - {alert: Saturated, expr: 'rate(ifHCInOctets[5m])*8 / (ifHighSpeed*1e6) > 0.9', for: 5m}
  - {alert: Down, expr: ifOperStatus == 2 and ifAdminStatus == 1, for: 30s}
`

// In the steady state a reading allocates nothing, however many samples it has.
func TestAReadingAllocatesNothingForItsSamples(t *testing.T) {
	desk := rule.NewDesk(parse(t, standardRules))
	all := make([]*event.Reading, 400)
	for i := range all {
		all[i] = device("t", i)
	}
	next := 0
	for ; next < 100; next++ {
		desk.Reading(all[next])
	}
	if n := testing.AllocsPerRun(200, func() { desk.Reading(all[next]); next++ }); n > 5 {
		t.Fatalf("%v allocations for one reading", n)
	}
}

// BenchmarkStandardDevice judges the 552 values of a standard device by two rules.
func BenchmarkStandardDevice(b *testing.B) {
	desk := rule.NewDesk(parse(b, standardRules))
	r := device("t", 0)
	step := func(i int) {
		r.Slot = epoch.Add(time.Duration(i) * 10 * time.Second)
		r.Started = r.Slot
		desk.Reading(r)
		if i < 2 {
			desk.Findings()
		}
	}
	for i := range 60 {
		step(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		step(60 + i)
	}
}

// BenchmarkTransition is one target going down and coming back: a firing and a resolved finding with their texts.
func BenchmarkTransition(b *testing.B) {
	desk := rule.NewDesk(parse(b, `groups: [{name: g, rules: [{alert: Down, expr: up == 0, labels: {severity: critical}, annotations: {summary: "{{ $labels.target }} is down", description: "{{ $labels.check }} {{ $value }}"}}]}]`))
	r := device("t", 0)
	r.Tables = nil
	b.ReportAllocs()
	for i := range b.N {
		r.Slot = epoch.Add(time.Duration(i) * 10 * time.Second)
		r.Started = r.Slot
		if r.Status = event.StatusTimeout; i%2 == 1 {
			r.Status = event.StatusOK
		}
		desk.Reading(r)
		desk.Findings()
	}
}
