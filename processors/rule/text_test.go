package rule

import (
	"context"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"pgregory.net/rapid"

	"kemi.dev/kemi/internal/conf"
)

// Templates say what they say in Prometheus.
func TestTemplatesAreEqualToPrometheus(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	labels := map[string]string{"target": "core-1.example.org:161", "n": "12345.678", "empty": ""}
	values := []float64{0, 1, -1, 0.5, 0.0001234, 999.9, 1000, 1023, 1024, 123456789, -5e12, 1e30, 1e-30, 59.5, 3600, 1700000000, math.NaN(), math.Inf(1), math.Inf(-1)}
	for _, source := range []string{
		`plain`, `{{ $value }}`, `{{ .Value | humanize }} of {{ .Labels.target }}`, `{{ $value | humanize1024 }}B`, `{{ $value | humanizeDuration }}`,
		`{{ humanizePercentage $value }}`, `{{ humanizeTimestamp $value }}`, `{{ $labels.none }}|{{ $labels.empty }}`, `{{ stripPort $labels.target }}`,
		`{{ stripDomain $labels.target }}`, `{{ stripDomain "10.0.0.1:80" }} {{ stripDomain "a.b.c" }} {{ stripPort "a" }}`,
		`{{ toUpper "a" }}{{ toLower "B" }}{{ title "the core" }}`, `{{ reReplaceAll "(.*):.*" "$1" $labels.target }}`, `{{ if match "core.*" $labels.target }}core{{ end }}`,
		`{{ if gt $value 80.0 }}hot{{ else }}cold{{ end }}`, `{{ printf "%.2f" $value }}`, `{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}`, `{{ now }}`,
		`{{ $labels.n | humanize }}`, `{{ parseDuration "1h30m" }}`, `{{ (toTime 1700000000.5).Unix }}`, `{{ toDuration 90 }}`, `{{ urlQueryEscape "a b&c" }}`,
		`{{ with args 1 "b" }}{{ .arg0 }}{{ .arg1 }}{{ end }}`, `{{ reReplaceAll "(" "" "x" }}`, `{{ humanize "x" }}`, `{{ safeHtml "<b>" }}`, `{{ $externalLabels.a }}{{ $externalURL }}`,
	} {
		mine, err := newText("t", source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		for _, v := range values {
			got, gotErr := mine.expand(&facts{Labels: labels, Value: v}, now)
			data := template.AlertTemplateData(labels, nil, "", promql.Sample{F: v})
			want, wantErr := template.NewTemplateExpander(context.Background(), variables+source, "t", data, model.Time(now.UnixMilli()), nil, &url.URL{}, nil).Expand()
			if wantErr != nil {
				want = source
			}
			if got != want || (gotErr != nil) != (wantErr != nil) {
				t.Errorf("%s with %v: got %q, %v, want %q, %v", source, v, got, gotErr, want, wantErr)
			}
		}
	}
}

// Wherever an expression stands in a YAML file, in whatever style, its places are found.
func TestPlacesAreFoundInEveryStyle(t *testing.T) {
	styles := map[string]func(text []string) string{
		"plain":         func(l []string) string { return strings.Join(l, " ") },
		"plain folded":  func(l []string) string { return strings.Join(l, "\n      ") },
		"literal":       func(l []string) string { return "|\n    " + strings.Join(l, "\n      ") },
		"literal strip": func(l []string) string { return "|-  # why\n\n    " + strings.Join(l, "\n\n    ") },
		"folded":        func(l []string) string { return ">\n   " + strings.Join(l, "\n   ") },
		"folded blank":  func(l []string) string { return ">-\n   " + strings.Join(l, "\n\n     ") },
		"single":        func(l []string) string { return "'" + strings.ReplaceAll(strings.Join(l, "\n      "), "'", "''") + "'" },
		"double":        func(l []string) string { return `"` + strings.ReplaceAll(strings.Join(l, `\n `), `"`, `\"`) + `"` },
		"double folded": func(l []string) string { return `"` + strings.ReplaceAll(strings.Join(l, "\n  "), `"`, `\"`) + `"` },
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"up", "==", "a{b=\"ü'\"}", "rate(x[5m])", "and", "(1", "+", "2)", "'it'", "日本"}), 1, 8).Draw(t, "words")
		name := rapid.SampledFrom([]string{"plain", "plain folded", "literal", "literal strip", "folded", "folded blank", "single", "double", "double folded"}).Draw(t, "style")
		lines := []string{"X" + words[0]} // A plain scalar must not begin with a quote.
		for _, w := range words[1:] {
			if rapid.Bool().Draw(t, "break") {
				lines = append(lines, w)
			} else {
				lines[len(lines)-1] += " " + w
			}
		}
		lines = append(lines, "MARK")
		before := rapid.IntRange(0, 3).Draw(t, "before")
		source := strings.Repeat("# ä\n", before) + "a:\n - ü: 1\n   expr: " + styles[name](lines) + "\n"
		nodes, problems := conf.ParseRaw("f", []byte(source))
		if len(problems) > 0 {
			t.Skip(problems)
		}
		n := nodes[0].Get("a").Items()[0].Get("expr")
		got := place(source, n.Pos(), n.Text(), strings.Index(n.Text(), "MARK"))
		upTo := source[:strings.Index(source, "MARK")]
		line := strings.Count(upTo, "\n") + 1
		column := len([]rune(upTo[strings.LastIndex(upTo, "\n")+1:])) + 1
		if got.Line != line || got.Column != column {
			t.Fatalf("%s: got %d:%d, want %d:%d in\n%s", name, got.Line, got.Column, line, column, source)
		}
	})
}
