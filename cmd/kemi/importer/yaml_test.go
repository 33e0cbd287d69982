package importer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/internal/conf"
)

// drawValue draws what the importer writes.
func drawValue(t *rapid.T, depth int) any {
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "yes", "null", "~", "1", "1.5", "0x1f", "09:00", "a: b", "- a", "#a", "a #b", "${HOME}", "$$x", "$", "a$b", "'", `"`, `\`, `a="b"`, "{a}", "[a]", "a, b", "*a", "&a", "!a", "|", ">", "%a", "@a", "`a", " a", "a ", "a\nb", "a\n\n  b\n", "\na", "a\tb", "\ta\nb", "a\n", "a\n\n", "---", "a\n---\nb", "...", "\u00a0", "\u2028", "\ufeff", "é", "😀", "\x00", "\x7f", "?", "? a", ":", "a:", "=", "<<", "30s", "true story", "no way"}),
		rapid.StringMatching(`[a-z$ {}:#'"\n\t-]{0,12}`),
		rapid.String(),
	)
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth > 3 {
		kind = 0
	}
	switch kind {
	case 3:
		out := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			out = append(out, drawValue(t, depth+1))
		}
		return out
	case 4, 5:
		out := mapping{}
		for range rapid.IntRange(0, 5).Draw(t, "keys") {
			key := text.Draw(t, "key")
			if out.get(key) == nil && key != "<<" {
				out.add(key, drawValue(t, depth+1))
			}
		}
		return out
	default:
		return text.Draw(t, "text")
	}
}

// read is a node as the importer writes it, all scalars as text.
func read(n conf.Node) any {
	switch n.Kind() {
	case conf.Map:
		out := mapping{}
		for _, k := range n.Keys() {
			out.add(k.Text(), read(n.Get(k.Text())))
		}
		return out
	case conf.List:
		out := []any{}
		for _, item := range n.Items() {
			out = append(out, read(item))
		}
		return out
	default:
		var v any
		if n.Into(&v); v == nil {
			return nil
		}
		if s, ok := v.(string); ok {
			return s
		}
		return raw(n.Text())
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := mapping{{key: "top", value: drawValue(rt, 0)}}
		w := writer{dollars: true}
		w.block(want, 0)
		nodes, problems := conf.Parse("kemi.yaml", w.out.Bytes())
		if len(problems) > 0 {
			rt.Fatalf("%v in\n%s", problems, w.out.String())
		}
		if diff := cmp.Diff(want, read(nodes[0]), cmp.AllowUnexported(pair{})); diff != "" {
			rt.Fatalf("(-written +read)\n%s\n%s", diff, w.out.String())
		}
	})
}
