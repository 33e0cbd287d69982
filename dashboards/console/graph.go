package console

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// Point is one value of a line; a value that is no number is a gap.
type Point struct {
	T time.Time
	V float64
}

// Line is one series of a graph.
type Line struct {
	Name   string
	Points []Point
}

// Graph is a picture of some lines over time.
type Graph struct {
	Title string
	// Unit of the values, shown with an SI prefix: "bit/s", "s", "%".
	Unit     string
	From, To time.Time
	Lines    []Line
}

// The picture's measures in its own units; it scales with the page.
const (
	width, height            = 640, 180
	left, right, top, bottom = 78, 8, 8, 22
	plotW, plotH             = width - left - right, height - top - bottom
	gapFactor                = 3 // A gap is wider than this many usual steps.
	colours                  = 6
	gridLines                = 4
	smallest, thousand       = 1e-9, 1000
)

// SVG draws the graph. Lines break at gaps, the value axis begins at zero unless values are below it.
func (g Graph) SVG() template.HTML {
	low, high := g.bounds()
	x := func(t time.Time) float64 {
		return left + plotW*float64(t.Sub(g.From))/math.Max(float64(g.To.Sub(g.From)), 1)
	}
	y := func(v float64) float64 { return top + plotH*(1-(v-low)/(high-low)) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(g.Title))
	for i := range gridLines + 1 {
		v := low + (high-low)*float64(i)/gridLines
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, y(v), y(v))
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-6, y(v)+4, template.HTMLEscapeString(SI(v, g.Unit)))
	}
	for i := range 3 {
		t := g.From.Add(g.To.Sub(g.From) * time.Duration(i) / 2)
		anchor := [...]string{"start", "middle", "end"}[i]
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`, x(t), height-6, anchor, t.UTC().Format("15:04:05Z"))
	}
	for i, l := range g.Lines {
		if d := path(l.Points, x, y); d != "" {
			fmt.Fprintf(&b, `<path class="line c%d" d="%s"><title>%s</title></path>`, i%colours, d, template.HTMLEscapeString(l.Name))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// bounds of the value axis.
func (g Graph) bounds() (low, high float64) {
	for _, l := range g.Lines {
		for _, p := range l.Points {
			if number(p.V) {
				low, high = math.Min(low, p.V), math.Max(high, p.V)
			}
		}
	}
	if high-low < smallest {
		high = low + 1
	}
	return low, high
}

func number(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// path writes the points as SVG path data.
func path(points []Point, x func(time.Time) float64, y func(float64) float64) string {
	var step time.Duration
	for i := 1; i < len(points); i++ {
		if d := points[i].T.Sub(points[i-1].T); step == 0 || d < step {
			step = d
		}
	}
	var b strings.Builder
	pen := byte('M')
	for i, p := range points {
		if !number(p.V) || (i > 0 && p.T.Sub(points[i-1].T) > gapFactor*step) {
			pen = 'M'
		}
		if number(p.V) {
			fmt.Fprintf(&b, "%c%.1f %.1f", pen, x(p.T), y(p.V))
			pen = 'L'
		}
	}
	return b.String()
}

// SI writes a value with three digits, an SI prefix and its unit: "1.25 Gbit/s".
func SI(v float64, unit string) string {
	if v == 0 || !number(v) || unit == "%" || unit == "" {
		return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, unit))
	}
	prefixes := []string{"n", "µ", "m", "", "k", "M", "G", "T", "P"}
	i := 3
	for ; math.Abs(v) >= thousand && i < len(prefixes)-1; i++ {
		v /= thousand
	}
	for ; math.Abs(v) < 1 && i > 0; i-- {
		v *= thousand
	}
	return fmt.Sprintf("%.3g %s%s", v, prefixes[i], unit)
}
