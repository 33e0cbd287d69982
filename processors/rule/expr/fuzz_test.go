package expr_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"kemi.dev/kemi/processors/rule/expr"
)

// Whatever is not refused can be evaluated, with data and without.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`rate(in[5m])*8 / (speed*1e6) > 0.9`, `state == 2 and state == 1`, `rate((in[5m])) > 1`, `predict_linear((in[5m]), 3600) < 0`, `clamp(in, 1, scalar(speed))`,
		`-in unless on(port) (speed > bool 1)`, `{__name__=~".+"} > 1`, `vector(time()) or in`, `round(in, 0.5) % 2 == 1`, `up == 0`, `sum(up)`, `up offset 5m`, `last_over_time(in[1m]) ^ 2`,
		`in atan2 on() speed`, `((scalar(in))) + in`, `+in`, `rate(in[5m:1m])`, `"text"`, `in @ end()`, `abs(-in) >= ignoring(port) speed`, "in #c\n> 1", `{"in", port="1"} == 1`, `(in[1m])`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, problems := expr.Parse(text)
		if (p == nil) != (len(problems) > 0) {
			t.Fatalf("a program and problems: %v", problems)
		}
		for _, one := range problems {
			if one.Offset < 0 || one.Offset > len(text) || one.What == "" || one.Do == "" {
				t.Fatalf("a problem without its place: %+v", one)
			}
		}
		if p == nil {
			return
		}
		var series []*expr.Series
		for _, name := range []string{"in", "speed", "state", "up"} {
			for _, port := range []string{"1", "2"} {
				series = append(series, &expr.Series{Labels: labels.FromStrings("__name__", name, "port", port, "target", "t")})
			}
		}
		selected := make([][]*expr.Series, len(p.Selectors()))
		for i := range p.Selectors() {
			for _, s := range series {
				if p.Selectors()[i].Matches(s.Labels) {
					selected[i] = append(selected[i], s)
				}
			}
		}
		b := p.Bind(selected)
		var run expr.Run
		for i := range int64(4) {
			now := 1_700_000_000_000 + 10_000*i
			res, _ := b.Eval(&run, now)
			if len(res.States) != b.Len() {
				t.Fatalf("%d states of %d series", len(res.States), b.Len())
			}
			for k := range b.Len() {
				_ = b.Labels(k)
			}
			for k, s := range series {
				s.Keep(max(p.Reach(), time.Minute))
				s.Add(now, float64(int64(k)*i))
			}
		}
	})
}

// What is missing is unknown, and what is false is false: the states behind the results.
func TestStates(t *testing.T) {
	const yes, no, unknown, doubtful = expr.True, expr.False, expr.Missing, expr.Doubtful
	for _, c := range []struct {
		expr string
		want expr.State // of port 1; a is 5 there, b is missing, c is 0
	}{
		{`a`, yes},
		{`b`, unknown},
		{`a > 4`, yes},
		{`a > 6`, no},
		{`b > 6`, unknown},
		{`(a > 6) * 2`, no},
		{`(a > 6) > 1`, no},
		{`a > bool 6`, yes},
		{`a / c > 1`, yes},
		{`a / b > 1`, unknown},
		{`b / a > 1`, unknown},
		{`a / (c > 1)`, no},
		{`(a > 6) / b`, no},
		{`a and c == 0`, yes},
		{`a and c == 1`, no},
		{`a and b == 1`, unknown},
		{`(a > 6) and b == 1`, no},
		{`b and a`, unknown},
		{`a and nothing`, unknown},
		{`a unless c == 1`, yes},
		{`a unless c == 0`, no},
		{`a unless b`, doubtful},
		{`(a unless b) > 6`, no},
		{`a unless nothing`, yes},
		{`b unless a`, unknown},
		{`a == 5 or b`, yes},
		{`a == 6 or c`, no},
		{`rate(a[1m])`, unknown},
		{`a > scalar(c)`, yes},
		{`a > scalar(b)`, unknown},
		{`a * scalar(b)`, doubtful},
		{`clamp(a, 3, 1)`, no},
		{`clamp(a, scalar(b), 1)`, doubtful},
	} {
		p, problems := expr.Parse(c.expr)
		if p == nil {
			t.Fatalf("%s: %v", c.expr, problems)
		}
		series := map[string]*expr.Series{}
		for _, name := range []string{"a", "b", "c"} {
			series[name] = &expr.Series{Labels: labels.FromStrings("__name__", name, "port", "1")}
			series[name].Keep(time.Minute)
		}
		series["a"].Add(1000, 5)
		series["b"].Add(500, 7)
		series["b"].End(1000)
		series["c"].Add(1000, 0)
		selected := make([][]*expr.Series, len(p.Selectors()))
		for i, sel := range p.Selectors() {
			if s := series[sel.Name]; s != nil {
				selected[i] = []*expr.Series{s}
			}
		}
		var run expr.Run
		res, err := p.Bind(selected).Eval(&run, 1000)
		if err != nil || res.States[0] != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.expr, res.States[0], err, c.want)
		}
	}
}
