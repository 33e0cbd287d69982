package sample_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/sample"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// reading makes a reading of a switch, `at` after start.
func reading(at time.Duration, tables ...event.Table) *event.Reading {
	return &event.Reading{
		JobID: fmt.Sprint(at), Target: "tor-1", Check: "snmp", Status: event.StatusOK, Started: start.Add(at),
		Slot: start.Add(at), Duration: 250 * time.Millisecond, Interval: 10 * time.Second, Tables: tables,
		Labels: event.LabelsOf(map[string]string{"target": "tor-1", "class": "switch", "site": "dc1"}),
	}
}

func interfaces(index []string, in ...uint64) event.Table {
	return event.Table{
		Name: "interfaces", Rows: len(in), Index: []event.IndexColumn{{Name: "ifIndex", Values: index}},
		Columns: []event.Column{{Name: "ifHCInOctets", Kind: event.Counter, Counters: in}},
	}
}

func down(at time.Duration) *event.Reading {
	r := reading(at)
	r.Status, r.Message = event.StatusTimeout, "no answer"
	return r
}

// said shows a batch as text: series and value, and what is gone.
func said(b *sample.Batch) map[string]string {
	m := map[string]string{}
	for _, s := range b.Samples {
		m[s.Series.Labels.String()] = fmt.Sprint(s.V)
	}
	for _, s := range b.Gone {
		m[s.Labels.String()] += "gone"
	}
	return m
}

const (
	upSeries       = `{__name__="up", check="snmp", class="switch", site="dc1", target="tor-1"}`
	durationSeries = `{__name__="kemi_poll_duration_seconds", check="snmp", class="switch", site="dc1", target="tor-1"}`
)

func in(index string) string {
	return `{__name__="ifHCInOctets", class="switch", ifIndex="` + index + `", site="dc1", target="tor-1"}`
}

func TestEveryCellIsASampleOfItsOwnSeries(t *testing.T) {
	tab := interfaces([]string{"1", "2", "3"}, 10, 20, 30)
	tab.Columns[0].Missing = []uint32{1}
	tab.Columns = append(tab.Columns,
		event.Column{Name: "ifAlias", Kind: event.Text, Texts: []string{"a", "b", "c"}},
		event.Column{Name: "temperature", Kind: event.Gauge, Gauges: []float64{1.5, -2, 0}, Missing: []uint32{0, 2}})
	x := sample.New()
	for range 2 { // The second time takes the remembered layout.
		b := x.Expand(reading(0, tab))
		want := map[string]string{
			upSeries: "1", durationSeries: "0.25", in("1"): "10", in("3"): "30",
			`{__name__="temperature", class="switch", ifIndex="2", site="dc1", target="tor-1"}`: "-2",
		}
		if diff := cmp.Diff(want, said(b)); diff != "" {
			t.Fatal(diff)
		}
		if b.T != start.UnixMilli() {
			t.Errorf("T = %d, want the start of the poll %d", b.T, start.UnixMilli())
		}
	}
}

func TestADeviceThatDoesNotAnswerKeepsUpAndLosesTheRestOnce(t *testing.T) {
	x := sample.New()
	x.Expand(reading(0, interfaces([]string{"1"}, 10)))
	want := map[string]string{upSeries: "0", durationSeries: "0.25", in("1"): "gone"}
	if diff := cmp.Diff(want, said(x.Expand(down(10*time.Second)))); diff != "" {
		t.Fatal(diff)
	}
	want = map[string]string{upSeries: "0", durationSeries: "0.25"}
	if diff := cmp.Diff(want, said(x.Expand(down(20*time.Second)))); diff != "" {
		t.Fatal(diff)
	}
	want = map[string]string{upSeries: "1", durationSeries: "0.25", in("1"): "12"}
	if diff := cmp.Diff(want, said(x.Expand(reading(30*time.Second, interfaces([]string{"1"}, 12))))); diff != "" {
		t.Fatal(diff)
	}
}

// A service that answers 503 is not up, but what the check found is there to be judged; what it did not find is gone.
func TestAPollThatFailedKeepsWhatItFoundAndIsNotUp(t *testing.T) {
	x := sample.New()
	x.Expand(reading(0, interfaces([]string{"1", "2"}, 10, 20)))
	failed := reading(10*time.Second, interfaces([]string{"1"}, 11))
	failed.Status = event.StatusError
	want := map[string]string{upSeries: "0", durationSeries: "0.25", in("1"): "11", in("2"): "gone"}
	if diff := cmp.Diff(want, said(x.Expand(failed))); diff != "" {
		t.Fatal(diff)
	}
	want = map[string]string{upSeries: "0", durationSeries: "0.25", in("1"): "gone"}
	if diff := cmp.Diff(want, said(x.Expand(down(20*time.Second)))); diff != "" {
		t.Fatal(diff)
	}
}

func TestALateJobSaysNothing(t *testing.T) {
	x := sample.New()
	x.Expand(reading(0, interfaces([]string{"1"}, 10)))
	late := reading(10 * time.Second)
	late.Status = event.StatusLate
	if b := x.Expand(late); len(b.Samples)+len(b.Gone) != 0 {
		t.Fatalf("got %v, want nothing", said(b))
	}
}

func TestSeriesStayTheSameObjectsWhenRowsComeAndGo(t *testing.T) {
	x := sample.New()
	find := func(b *sample.Batch, name string) *sample.Series {
		for _, s := range b.Samples {
			if s.Series.Labels.String() == name {
				return s.Series
			}
		}
		t.Fatalf("no series %s in %v", name, said(b))
		return nil
	}
	first := find(x.Expand(reading(0, interfaces([]string{"1", "2"}, 1, 2))), in("2"))
	first.User = "mine"
	b := x.Expand(reading(time.Second, interfaces([]string{"2", "3"}, 3, 4)))
	if got := find(b, in("2")); got != first || got.User != "mine" {
		t.Errorf("the series of row 2 is another object after the table changed")
	}
	if len(b.Gone) != 1 || b.Gone[0].Labels.String() != in("1") {
		t.Errorf("gone = %v, want row 1", said(b))
	}
	x.Expand(down(2 * time.Second))
	if find(x.Expand(reading(3*time.Second, interfaces([]string{"2", "3"}, 5, 6))), in("2")) != first {
		t.Errorf("the series of row 2 is another object after an outage")
	}
}

func TestANewLabelOfTheTargetMakesNewSeries(t *testing.T) {
	x := sample.New()
	x.Expand(reading(0, interfaces([]string{"1"}, 1)))
	moved := reading(time.Second, interfaces([]string{"1"}, 2))
	moved.Labels = moved.Labels.With(map[string]string{"site": "dc2"})
	b := x.Expand(moved)
	if len(b.Samples) != 3 || len(b.Gone) != 3 {
		t.Fatalf("%d samples and %d gone, want 3 and 3: %v", len(b.Samples), len(b.Gone), said(b))
	}
}

func TestTheTargetsLabelsWinOverTheRows(t *testing.T) {
	tab := event.Table{
		Name: "t", Rows: 1,
		Index: []event.IndexColumn{
			{Name: "target", Values: []string{"liar"}},
			{Name: "exported_target", Values: []string{"own"}},
			{Name: "__name__", Values: []string{"up"}},
			{Name: "empty", Values: []string{""}},
			{Name: "site", Values: []string{""}},
			{Name: "vlan", Values: []string{"\xff7"}},
			{Name: "vlan", Values: []string{"8"}},
		},
		Columns: []event.Column{{Name: "x", Kind: event.Gauge, Gauges: []float64{1}}},
	}
	r := reading(0, tab)
	r.Labels = r.Labels.With(map[string]string{"check": "theirs"})
	got := slices.Sorted(maps.Keys(said(sample.New().Expand(r))))
	want := []string{
		`{__name__="kemi_poll_duration_seconds", check="theirs", class="switch", exported_check="snmp", site="dc1", target="tor-1"}`,
		`{__name__="up", check="theirs", class="switch", exported_check="snmp", site="dc1", target="tor-1"}`,
		`{__name__="x", check="theirs", class="switch", exported___name__="up", exported_exported_target="liar", exported_target="own", site="dc1", target="tor-1", vlan="` + "\uFFFD" + `7"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestOfTwoEqualRowsTheFirstCounts(t *testing.T) {
	b := sample.New().Expand(reading(0, interfaces([]string{"1", "1"}, 10, 99)))
	if got := said(b)[in("1")]; got != "10" || b.Duplicates != 1 {
		t.Fatalf("got %s with %d duplicates, want 10 with 1", got, b.Duplicates)
	}
}

func TestRestart(t *testing.T) {
	boot := func(r *event.Reading, at time.Duration) *event.Reading {
		r.Booted = start.Add(at)
		return r
	}
	two := func(at time.Duration, a, b uint64) *event.Reading {
		return reading(at, interfaces([]string{"1", "2"}, a, b))
	}
	failed := func(r *event.Reading) *event.Reading {
		r.Status = event.StatusError
		return r
	}
	const long = -100 * time.Hour
	for name, c := range map[string]struct {
		readings []*event.Reading
		want     bool
	}{
		"one counter fell, one is above":    {[]*event.Reading{boot(two(0, 100, 7), long), boot(two(10*time.Second, 3, 9), 5*time.Second)}, true},
		"the agent restarted, not the box":  {[]*event.Reading{boot(two(0, 100, 7), long), boot(two(10*time.Second, 101, 9), 5*time.Second)}, false},
		"all counters were at zero":         {[]*event.Reading{boot(two(0, 0, 0), long), boot(two(10*time.Second, 3, 9), 5*time.Second)}, true},
		"the boot time is not known":        {[]*event.Reading{two(0, 100, 7), two(10*time.Second, 3, 9)}, false},
		"it booted before the last reading": {[]*event.Reading{boot(two(0, 100, 7), -5*time.Second), boot(two(10*time.Second, 3, 9), -4*time.Second)}, false},
		"it booted while it did not answer": {[]*event.Reading{boot(two(0, 100, 7), long), down(10 * time.Second), boot(two(20*time.Second, 3, 9), 5*time.Second)}, true},
		"a clock that runs ahead":           {[]*event.Reading{boot(two(0, 100, 7), long), boot(two(10*time.Second, 3, 9), 15*time.Second)}, false},
		"the first reading knows no before": {[]*event.Reading{boot(two(10*time.Second, 3, 9), 5*time.Second)}, false},
		"a poll that failed showed it already": {[]*event.Reading{
			boot(two(0, 100, 7), long), failed(boot(two(10*time.Second, 3, 9), 5*time.Second)), boot(two(20*time.Second, 1, 9), 5*time.Second),
		}, false},
		"an older reading that comes behind": {[]*event.Reading{boot(two(10*time.Second, 100, 7), long), boot(two(8*time.Second, 3, 9), 5*time.Second)}, false},
	} {
		x := sample.New()
		var b *sample.Batch
		for _, r := range c.readings {
			b = x.Expand(r)
		}
		if b.Restarted != c.want {
			t.Errorf("%s: restarted = %t, want %t", name, b.Restarted, c.want)
		}
		if b.First != (len(c.readings) == 1) {
			t.Errorf("%s: first = %t", name, b.First)
		}
		if b.Restarted && b.BootT != c.readings[len(c.readings)-1].Booted.UnixMilli() {
			t.Errorf("%s: boot at %d", name, b.BootT)
		}
	}
}

func TestForgetAndSweepDropWhatIsRemembered(t *testing.T) {
	x := sample.New()
	x.Expand(reading(0, interfaces([]string{"1"}, 1)))
	x.Forget("tor-1")
	if b := x.Expand(reading(time.Second, interfaces([]string{"2"}, 1))); len(b.Gone) != 0 || !b.First {
		t.Errorf("gone = %v after Forget, want none", said(b))
	}
	if n := x.Sweep(start.Add(time.Hour)); n != 0 {
		t.Errorf("swept %d within the hour, want 0", n)
	}
	if n := x.Sweep(start.Add(2 * time.Hour)); n != 1 {
		t.Errorf("swept %d after two hours, want 1", n)
	}
}

// Whatever comes: the batch is what a plain reading of the tables says, and what is gone is what was there and is not.
func TestBatchesAgreeWithAPlainExpansion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := sample.New()
		before := map[string]bool{}
		for step := range rapid.IntRange(1, 8).Draw(t, "steps") {
			r := anyReading(t, step)
			b := x.Expand(r)
			want := plain(r)
			got := map[string]float64{}
			for _, s := range b.Samples {
				name := s.Series.Labels.String()
				if _, twice := got[name]; twice {
					t.Fatalf("%s twice in one batch", name)
				}
				got[name] = s.V
				if s.Series.Hash != s.Series.Labels.Hash() {
					t.Fatalf("hash of %s is not its own", name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			if !r.Status.Asked() {
				continue
			}
			gone := map[string]bool{}
			for _, s := range b.Gone {
				gone[s.Labels.String()] = true
			}
			for name := range before {
				if _, there := want[name]; there {
					delete(before, name)
				}
			}
			if diff := cmp.Diff(before, gone); diff != "" {
				t.Fatalf("gone: %s", diff)
			}
			before = map[string]bool{}
			for name := range want {
				before[name] = true
			}
		}
	})
}

func anyReading(t *rapid.T, step int) *event.Reading {
	r := reading(time.Duration(step) * time.Second)
	r.Labels = r.Labels.With(map[string]string{"site": rapid.SampledFrom([]string{"dc1", "dc2"}).Draw(t, "site")})
	r.Status = rapid.SampledFrom([]event.Status{event.StatusOK, event.StatusOK, event.StatusPartial, event.StatusTimeout, event.StatusError, event.StatusLate}).Draw(t, "status")
	if !r.Status.Up() && (r.Status != event.StatusError || rapid.Bool().Draw(t, "empty")) {
		return r
	}
	for range rapid.IntRange(0, 2).Draw(t, "tables") {
		rows := rapid.IntRange(0, 3).Draw(t, "rows")
		tab := event.Table{Name: "t", Rows: rows, Index: []event.IndexColumn{{Name: "i"}}}
		for range rows {
			tab.Index[0].Values = append(tab.Index[0].Values, rapid.SampledFrom([]string{"1", "2", "3", ""}).Draw(t, "index"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "columns") {
			c := event.Column{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "column"), Kind: event.Counter}
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				c.Kind, c.Texts = event.Text, make([]string, rows)
			default: // One kind per name: a name that is both is the profile's mistake.
				for row := range rows {
					c.Counters = append(c.Counters, rapid.Uint64Range(0, math.MaxUint32).Draw(t, "value"))
					if rapid.IntRange(0, 3).Draw(t, "missing") == 0 {
						c.Missing = append(c.Missing, uint32(row))
					}
				}
			}
			tab.Columns = append(tab.Columns, c)
		}
		r.Tables = append(r.Tables, tab)
	}
	return r
}

// plain expands a reading without remembering anything.
func plain(r *event.Reading) map[string]float64 {
	out := map[string]float64{}
	if !r.Status.Asked() {
		return out
	}
	add := func(v float64, more map[string]string) {
		name := r.Labels.With(more).String()
		if _, there := out[name]; !there {
			out[name] = v
		}
	}
	up := 0.0
	if r.Status.Up() {
		up = 1
	}
	add(up, map[string]string{"__name__": "up", "check": r.Check})
	add(r.Duration.Seconds(), map[string]string{"__name__": "kemi_poll_duration_seconds", "check": r.Check})
	for _, t := range r.Tables {
		for _, c := range t.Columns {
			for row := range t.Rows {
				if c.Kind != event.Text && !slices.Contains(c.Missing, uint32(row)) {
					add(float64(c.Counters[row]), map[string]string{"__name__": c.Name, "i": t.Index[0].Values[row]})
				}
			}
		}
	}
	return out
}

// Standard is the reading by which DESIGN.md 9 measures: 11 columns of 50 interfaces and two of the system.
func standard(at time.Duration, round uint64) *event.Reading {
	tab := event.Table{Name: "interfaces", Rows: 50, Index: []event.IndexColumn{{Name: "ifIndex"}, {Name: "ifName"}}}
	for row := range tab.Rows {
		tab.Index[0].Values = append(tab.Index[0].Values, fmt.Sprint(row+1))
		tab.Index[1].Values = append(tab.Index[1].Values, fmt.Sprintf("GigabitEthernet1/0/%d", row+1))
	}
	for c := range 11 {
		col := event.Column{Name: fmt.Sprintf("ifColumn%d", c), Kind: event.Counter}
		for row := range tab.Rows {
			col.Counters = append(col.Counters, round*1000+uint64(row))
		}
		tab.Columns = append(tab.Columns, col)
	}
	return reading(at, event.Table{Name: "system", Rows: 1, Columns: []event.Column{
		{Name: "sysUpTime", Kind: event.Gauge, Gauges: []float64{float64(round)}},
		{Name: "sysName", Kind: event.Text, Texts: []string{"tor-1"}},
	}}, tab)
}

func TestASteadyReadingAllocatesNothing(t *testing.T) {
	x := sample.New()
	a, b := standard(0, 1), standard(time.Second, 2)
	x.Expand(a)
	x.Expand(b)
	if n := testing.AllocsPerRun(10, func() { x.Expand(b) }); n != 0 {
		t.Fatalf("%v allocations for a reading of %d values, want 0", n, b.Values())
	}
}

func BenchmarkExpandStandardReading(b *testing.B) {
	x := sample.New()
	readings := []*event.Reading{standard(0, 1), standard(0, 2)}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		x.Expand(readings[i%2])
		i++
	}
}

func BenchmarkExpandNewTarget(b *testing.B) {
	x := sample.New()
	r := standard(0, 1)
	b.ReportAllocs()
	for b.Loop() {
		x.Forget(r.Target)
		x.Expand(r)
	}
}
