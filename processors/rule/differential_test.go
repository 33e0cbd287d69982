package rule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/rule/expr"
	"kemi.dev/kemi/processors/sample"
)

// differentialRules are shapes that rules have, over what the generated readings hold.
const differentialRules = `
groups:
- name: g
  rules:
  - {alert: A, expr: 'rate(octets[1m])*8 / (speed*1e6) > 0.0009'}
  - {alert: B, expr: 'oper == 2 and admin == 1'}
  - {alert: C, expr: 'increase(octets[5m]) > 10 unless on(port) oper == 2'}
  - {alert: D, expr: 'up == 0 or on(target) latency > 1'}
  - {alert: E, expr: 'changes(oper[5m]) > 2 and on(target) up{check="snmp"} == 1'}
  - {alert: F, expr: 'resets(octets[5m]) > 0'}
  - {alert: G, expr: 'irate({__name__=~"octets"}[2m]) > 5'}
  - {alert: H, expr: 'avg_over_time(speed[1m]) != speed'}
  - {alert: I, expr: 'octets > 500'}
  - {alert: J, expr: '{port="1"} > 1'}
`

// twin is the same readings twice: judged by the desk, and written to Prometheus' store as the embedded store does.
type twin struct {
	desk   *Desk
	db     *tsdb.DB
	engine *promql.Engine
	expand *sample.Expander
}

// write stores a reading: what is gone is marked stale, counters of a device that restarted begin at zero.
func (w *twin) write(t *rapid.T, r *event.Reading) {
	b := w.expand.Expand(r)
	app := w.db.Appender(context.Background())
	add := func(s *sample.Series, at int64, v float64) {
		_, err := app.Append(0, s.Labels, at, v)
		if err != nil && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
			t.Fatal(err)
		}
	}
	for _, s := range b.Gone {
		add(s, b.T, math.Float64frombits(value.StaleNaN))
	}
	for i := range b.Samples {
		if s := b.Samples[i].Series; b.Restarted && s.Counter {
			add(s, b.BootT, 0)
		}
	}
	for i := range b.Samples {
		add(b.Samples[i].Series, b.T, b.Samples[i].V)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// device is a simulated target: it reboots, loses rows and does not answer now and then.
type device struct {
	now    time.Time
	booted time.Time
	octets []uint64
	rows   int
}

func (d *device) poll(t *rapid.T) *event.Reading {
	step := time.Duration(rapid.SampledFrom([]int{10_000, 10_000, 10_020, 9_990, 30_000, 65_000, 310_000}).Draw(t, "step")) * time.Millisecond
	if d.now = d.now.Add(step); rapid.IntRange(0, 9).Draw(t, "reboot") == 0 {
		d.booted = d.now.Add(-time.Duration(rapid.IntRange(1, 9000).Draw(t, "ago")) * time.Millisecond)
		clear(d.octets)
	}
	for i := range d.octets {
		d.octets[i] += uint64(rapid.IntRange(0, 2000).Draw(t, "octets"))
	}
	if rapid.IntRange(0, 7).Draw(t, "change") == 0 {
		d.rows = rapid.IntRange(0, len(d.octets)).Draw(t, "rows")
	}
	r := &event.Reading{
		JobID: fmt.Sprint(d.now.UnixMilli()), Target: "t1", Check: "snmp", Status: event.StatusOK, Slot: d.now, Started: d.now, Interval: 10 * time.Second,
		Booted: d.booted, Labels: event.LabelsOf(map[string]string{"target": "t1", "team": "a", "port": ""}),
	}
	if rapid.IntRange(0, 4).Draw(t, "http") == 0 {
		r.Check, r.Booted = "http", time.Time{}
		r.Tables = []event.Table{{Name: "http", Rows: 1, Columns: []event.Column{{Name: "latency", Kind: event.Gauge, Gauges: []float64{float64(rapid.IntRange(0, 2).Draw(t, "latency"))}}}}}
	} else {
		tab := event.Table{Name: "if", Rows: d.rows, Index: []event.IndexColumn{{Name: "port", Values: []string{"1", "2", "3"}[:d.rows]}}}
		gauge := func(name string, high int) event.Column {
			c := event.Column{Name: name, Kind: event.Gauge}
			for range d.rows {
				c.Gauges = append(c.Gauges, float64(rapid.IntRange(1, high).Draw(t, name)))
			}
			return c
		}
		tab.Columns = []event.Column{{Name: "octets", Kind: event.Counter, Counters: slices.Clone(d.octets[:d.rows])}, gauge("oper", 2), gauge("admin", 2), gauge("speed", 3)}
		if d.rows > 0 && rapid.IntRange(0, 4).Draw(t, "missing") == 0 {
			tab.Columns[rapid.IntRange(0, 3).Draw(t, "column")].Missing = []uint32{0}
		}
		r.Tables = []event.Table{tab}
	}
	switch rapid.IntRange(0, 9).Draw(t, "fails") {
	case 0:
		r.Status, r.Tables, r.Booted = event.StatusTimeout, nil, time.Time{}
	case 1: // A service that answers, but not as it should.
		r.Status = event.StatusError
	}
	return r
}

// After each reading every rule selects and computes what Prometheus does on the embedded store: through reboots, rows
// that come and go, polls that fail, irregular intervals and two checks of one target.
func TestReadingsAreJudgedAsPrometheusWould(t *testing.T) {
	set, problems := Parse("rules.yaml", []byte(differentialRules))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	dir := t.TempDir()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: expr.Lookback, Parser: parser.NewParser(parser.Options{})})
	worlds, compared := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		worlds++
		opts := tsdb.DefaultOptions()
		opts.WALSegmentSize, opts.StripeSize, opts.OutOfOrderTimeWindow = -1, 64, 6*time.Hour.Milliseconds() // As the embedded store.
		db, err := tsdb.Open(fmt.Sprintf("%s/%d", dir, worlds), nil, nil, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.DisableCompactions()
		w := &twin{desk: NewDesk(set), db: db, engine: engine, expand: sample.New()}
		d := &device{now: time.UnixMilli(1_700_000_000_000), octets: make([]uint64, 3), rows: 2}
		d.booted = d.now.Add(-time.Hour)
		for range rapid.IntRange(1, 25).Draw(t, "readings") {
			r := d.poll(t)
			w.write(t, r)
			w.desk.Reading(r)
			compared += w.compare(t)
		}
	})
	if compared < 100 {
		t.Fatalf("only %d results were compared", compared)
	}
}

func (w *twin) compare(t *rapid.T) int {
	tg, n := w.desk.targets["t1"], 0
	skip := rapid.IntRange(0, 3).Draw(t, "skip")
	for i, r := range w.desk.set.rules {
		if i%4 != skip { // Queries are slow: each reading has its share of the rules.
			continue
		}
		var got []string
		var gotErr error
		for _, b := range tg.rules {
			if b.rule != r {
				continue
			}
			var run expr.Run
			var res expr.Result
			res, gotErr = b.expr.Eval(&run, tg.now)
			for i, s := range res.States {
				if gotErr == nil && (s == expr.True || s == expr.Doubtful) {
					got = append(got, line(b.expr.Labels(i), res.Values[i]))
				}
			}
		}
		q, err := w.engine.NewInstantQuery(context.Background(), w.db, nil, r.Expr, time.UnixMilli(tg.now))
		if err != nil {
			t.Fatal(err)
		}
		res := q.Exec(context.Background())
		var want []string
		if v, err := res.Vector(); err == nil {
			for _, s := range v {
				want = append(want, line(s.Metric, s.F))
			}
		}
		q.Close()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || (gotErr != nil) != (res.Err != nil) {
			t.Fatalf("%s:\nkemi       %v %v\nprometheus %v %v", r.Expr, got, gotErr, want, res.Err)
		}
		n += len(got)
	}
	return n
}

func line(ls labels.Labels, v float64) string { return fmt.Sprintf("%s %.10g", ls, v) }
