package expr_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"pgregory.net/rapid"

	"kemi.dev/kemi/processors/rule/expr"
)

// world is the same samples twice: in a head of Prometheus' store, and in series as the rules keep them.
type world struct {
	head   *tsdb.Head
	engine *promql.Engine
	series []*expr.Series
	times  []int64
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: expr.Lookback, Parser: parser.NewParser(parser.Options{})})
}

func newWorld(t *rapid.T, dir string, engine *promql.Engine) *world {
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkDirRoot, opts.StripeSize, opts.ChunkRange = dir, 64, 24*time.Hour.Milliseconds()
	head, err := tsdb.NewHead(nil, nil, nil, nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &world{head: head, engine: engine}
}

// fill makes readings at irregular times: some lack some series, some are missing whole, counters reset, values are
// no numbers now and then.
func (w *world) fill(t *rapid.T) {
	type kind struct {
		name    string
		counter bool
	}
	for _, k := range []kind{{"in", true}, {"out", true}, {"speed", false}, {"state", false}} {
		for port := range rapid.IntRange(1, 3).Draw(t, k.name+"-ports") {
			ls := labels.FromStrings("__name__", k.name, "target", "t1", "port", fmt.Sprint(port))
			w.series = append(w.series, &expr.Series{Labels: ls})
		}
	}
	w.series = append(w.series, &expr.Series{Labels: labels.FromStrings("__name__", "up", "target", "t1", "check", "snmp")})
	for _, s := range w.series {
		s.Keep(10 * time.Minute)
	}
	last := make([]float64, len(w.series))
	had := make([]bool, len(w.series))
	now := int64(1_700_000_000_000)
	for range rapid.IntRange(1, 40).Draw(t, "readings") {
		now += int64(rapid.SampledFrom([]int{10_000, 10_000, 10_000, 9_700, 10_450, 31_234, 60_000, 299_000, 300_000, 301_000, 700_000}).Draw(t, "step"))
		w.times = append(w.times, now)
		app := w.head.Appender(context.Background())
		lost := rapid.IntRange(0, 12).Draw(t, "lost") == 0
		for i, s := range w.series {
			if lost || rapid.IntRange(0, 15).Draw(t, "missing") == 0 {
				if had[i] {
					w.append(t, app, s, now, math.Float64frombits(value.StaleNaN))
				}
				had[i] = false
				continue
			}
			v := float64(rapid.IntRange(0, 4).Draw(t, "v"))
			switch s.Labels.Get("__name__") {
			case "in", "out":
				if last[i] += v * 1000; rapid.IntRange(0, 10).Draw(t, "reset") == 0 {
					last[i] = v
				}
				v = last[i]
			case "speed":
				v = rapid.SampledFrom([]float64{0, 1, 1.5, -2.5, 1e9, 1e300, 1.7e308, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "odd")
			}
			had[i] = true
			w.append(t, app, s, now, v)
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) append(t *rapid.T, app storage.Appender, s *expr.Series, at int64, v float64) {
	if _, err := app.Append(0, s.Labels, at, v); err != nil {
		t.Fatal(err)
	}
	if value.IsStaleNaN(v) {
		s.End(at)
	} else {
		s.Add(at, v)
	}
}

// The generator of expressions: all of the supported language, also where it makes little sense.

func vector(t *rapid.T, depth int) string {
	if depth <= 0 {
		return selector(t)
	}
	sub := func() string { return vector(t, depth-rapid.IntRange(1, 2).Draw(t, "d")) }
	switch rapid.IntRange(0, 12).Draw(t, "node") {
	case 0, 1:
		return selector(t)
	case 2, 3, 4:
		return window(t, depth)
	case 5:
		return fmt.Sprintf("%s %s %s", paren(sub()), operator(t), paren(number(t, depth-1)))
	case 6:
		return fmt.Sprintf("%s %s %s", paren(number(t, depth-1)), operator(t), paren(sub()))
	case 7, 8:
		return fmt.Sprintf("%s %s %s %s", paren(sub()), operator(t), meeting(t), paren(sub()))
	case 9, 10:
		op := rapid.SampledFrom([]string{"and", "or", "unless"}).Draw(t, "set")
		return fmt.Sprintf("%s %s %s %s", paren(sub()), op, meeting(t), paren(sub()))
	case 11:
		fn := rapid.SampledFrom([]string{"abs", "ceil", "floor", "sqrt", "exp", "ln", "log2", "log10", "sgn", "round", "-", "+"}).Draw(t, "fn")
		return fn + paren(sub())
	default:
		n := func() string { return number(t, depth-1) }
		return rapid.SampledFrom([]func() string{
			func() string { return fmt.Sprintf("clamp(%s, %s, %s)", sub(), n(), n()) },
			func() string { return fmt.Sprintf("clamp_min(%s, %s)", sub(), n()) },
			func() string { return fmt.Sprintf("clamp_max(%s, %s)", sub(), n()) },
			func() string { return fmt.Sprintf("round(%s, %s)", sub(), n()) },
			func() string { return fmt.Sprintf("vector(%s)", n()) },
		}).Draw(t, "call")()
	}
}

func paren(s string) string { return "(" + s + ")" }

func selector(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"in", "out", "speed", "state", "up", `state{port="1"}`, `in{port!="0"}`, `{__name__=~"in|out"}`, `{target="t1"}`,
		`speed{port=~"0|1"}`, "nothing", `up{check="snmp"}`,
	}).Draw(t, "selector")
}

func window(t *rapid.T, depth int) string {
	reach := rapid.SampledFrom([]string{"1m", "5m", "10m", "15s", "30s"}).Draw(t, "reach")
	fn := rapid.SampledFrom([]string{
		"rate", "rate", "rate", "increase", "irate", "delta", "idelta", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time",
		"count_over_time", "last_over_time", "present_over_time", "changes", "resets", "deriv", "predict_linear",
	}).Draw(t, "window")
	if fn == "predict_linear" {
		return fmt.Sprintf("predict_linear(%s[%s], %s)", selector(t), reach, number(t, depth-1))
	}
	return fmt.Sprintf("%s(%s[%s])", fn, selector(t), reach)
}

func operator(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "!= bool", "> bool", "< bool", ">= bool", "<= bool",
	}).Draw(t, "op")
}

func meeting(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", "on(port)", "on(target)", "ignoring(port)", "ignoring(check)", "on()", "on(__name__, port)"}).Draw(t, "match")
}

func number(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "scalar") {
		case 0:
			return "time() - 1.7e9"
		case 1:
			return "scalar(" + vector(t, depth-1) + ")"
		case 2:
			op := operator(t)
			if strings.ContainsAny(op, "=<>") && !strings.HasSuffix(op, "bool") {
				op += " bool"
			}
			return paren(number(t, depth-1)) + " " + op + " " + paren(number(t, depth-1))
		}
	}
	return rapid.SampledFrom([]string{"0", "1", "2", "-1", "0.5", "1000", "1e6", "Inf", "NaN"}).Draw(t, "number")
}

// The evaluator and Prometheus' engine give the same series with the same values, or both an error.
func TestTheEvaluatorIsEqualToPrometheus(t *testing.T) {
	dir, engine := t.TempDir(), newEngine()
	n := 0
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		w := newWorld(t, fmt.Sprintf("%s/%d", dir, n), engine)
		defer w.head.Close()
		w.fill(t)
		end := w.times[len(w.times)-1]
		var run expr.Run
		for range 4 {
			text := vector(t, 4)
			program, problems := expr.Parse(text)
			if problems != nil {
				if strings.Contains(problems[0].What, "selects no series") {
					continue
				}
				t.Fatalf("%s: refused: %+v", text, problems)
			}
			bound := program.Bind(w.selected(program))
			for _, later := range []int64{0, 4_000, 299_999, 300_000} {
				compared += w.compare(t, text, bound, &run, end+later)
			}
		}
	})
	if compared < 50 {
		t.Fatalf("only %d series were compared: the generator makes nothing but empty results", compared)
	}
}

func (w *world) selected(p *expr.Program) [][]*expr.Series {
	out := make([][]*expr.Series, len(p.Selectors()))
	for i := range p.Selectors() {
		for _, s := range w.series {
			if p.Selectors()[i].Matches(s.Labels) {
				out[i] = append(out[i], s)
			}
		}
	}
	return out
}

func (w *world) compare(t *rapid.T, text string, bound *expr.Bound, run *expr.Run, at int64) int {
	got, gotErr := bound.Eval(run, at)
	queryable := storage.QueryableFunc(func(mint, maxt int64) (storage.Querier, error) {
		return tsdb.NewBlockQuerier(tsdb.NewRangeHead(w.head, mint, maxt), mint, maxt)
	})
	q, err := w.engine.NewInstantQuery(context.Background(), queryable, nil, text, time.UnixMilli(at))
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	res := q.Exec(context.Background())
	if (res.Err != nil) != (gotErr != nil) {
		t.Fatalf("%s: error %v, Prometheus says %v", text, gotErr, res.Err)
	}
	if res.Err != nil {
		return 0
	}
	want, err := res.Vector()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var mine, theirs []string
	for i := range got.States {
		if s := got.States[i]; s == expr.True || s == expr.Doubtful {
			mine = append(mine, show(bound.Labels(i), got.Values[i]))
		}
	}
	for _, s := range want {
		theirs = append(theirs, show(s.Metric, s.F))
	}
	slices.Sort(mine)
	slices.Sort(theirs)
	if !slices.Equal(mine, theirs) {
		t.Fatalf("%s at %d:\nkemi       %v\nprometheus %v", text, at, mine, theirs)
	}
	return len(mine)
}

// show rounds the last digits away: they depend on how a compiler orders the operations.
func show(ls labels.Labels, v float64) string { return fmt.Sprintf("%s %.10g", ls, v) }
