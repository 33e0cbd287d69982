package conf

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type leaf struct {
	Name  string         `yaml:"name" json:"name"`
	On    bool           `yaml:"on" json:"on"`
	Count int64          `yaml:"count" json:"count"`
	Size  uint64         `yaml:"size" json:"size"`
	Share float64        `yaml:"share" json:"share"`
	Bits  []int8         `yaml:"bits" json:"bits"`
	Words map[string]int `yaml:"words" json:"words"`
}

type tree struct {
	Root   leaf            `yaml:"root" json:"root"`
	Leaves []leaf          `yaml:"leaves" json:"leaves"`
	Named  map[string]leaf `yaml:"named" json:"named"`
	Maybe  *leaf           `yaml:"maybe" json:"maybe"`
}

func drawLeaf(t *rapid.T) leaf {
	return leaf{
		Name:  rapid.StringOf(rapid.RuneFrom([]rune("ab 1.:#-'\"\\{}[],&*!|>%@`~$?=\nöß€😀"))).Draw(t, "name"),
		On:    rapid.Bool().Draw(t, "on"),
		Count: rapid.Int64().Draw(t, "count"),
		Size:  rapid.Uint64().Draw(t, "size"),
		Share: rapid.Float64Range(-1e30, 1e30).Draw(t, "share"),
		Bits:  rapid.SliceOfN(rapid.Int8(), 1, 4).Draw(t, "bits"),
		Words: rapid.MapOfN(rapid.StringMatching(`[a-zA-Z0-9 .:#'"*&-]{1,6}`), rapid.Int(), 1, 3).Draw(t, "words"),
	}
}

func drawTree(t *rapid.T) tree {
	leaves := rapid.Custom(drawLeaf)
	v := tree{
		Root:   leaves.Draw(t, "root"),
		Leaves: rapid.SliceOfN(leaves, 1, 3).Draw(t, "leaves"),
		Named:  rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), leaves, 1, 3).Draw(t, "named"),
	}
	if rapid.Bool().Draw(t, "has maybe") {
		maybe := leaves.Draw(t, "maybe")
		v.Maybe = &maybe
	}
	return v
}

// writeYAML writes a tree as block YAML, texts in double quotes as JSON has them.
func writeYAML(b *strings.Builder, v any, indent string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
		b.WriteString("\n")
		for k, item := range v {
			b.WriteString(indent + strconv.Quote(k) + ":")
			writeYAML(b, item, indent+"  ")
		}
	case []any:
		b.WriteString("\n")
		for _, item := range v {
			b.WriteString(indent + "-")
			writeYAML(b, item, indent+"  ")
		}
	default:
		text, _ := json.Marshal(v)
		b.WriteString(" " + string(text) + "\n")
	}
}

func TestWhatIsWrittenOutReadsBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawTree(t)
		asJSON, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var generic any
		decoder := json.NewDecoder(strings.NewReader(string(asJSON)))
		decoder.UseNumber()
		if err := decoder.Decode(&generic); err != nil {
			t.Fatal(err)
		}
		var block strings.Builder
		block.WriteString("---")
		writeYAML(&block, generic, "")
		tabbed, err := json.MarshalIndent(want, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(asJSON), string(tabbed), block.String()} {
			nodes, problems := ParseRaw("t.yaml", []byte(text))
			if err := problems.Err(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			var got tree
			if err := nodes[0].Into(&got).Err(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got)\n%s\n%s", diff, text)
			}
		}
	})
}

func TestDurationsReadBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64().Draw(t, "d"))
		text, err := yaml.Marshal(map[string]string{"d": want.String()})
		if err != nil {
			t.Fatal(err)
		}
		nodes, _ := Parse("t.yaml", text)
		var got struct{ D time.Duration }
		if err := nodes[0].Into(&got).Err(); err != nil || got.D != want {
			t.Fatalf("%s gave %v, %v", text, got.D, err)
		}
	})
}

func FuzzParseInto(f *testing.F) {
	for _, seed := range []string{
		"a: 1", "{}", "[]", "", "---\n...\n", "a: &x {b: 1}\nc: *x\nd: {<<: *x}", "a: ${X:-y}", "a: |\n  x\n", "? a\n: b",
		"root: {name: x, bits: [1], words: {a: 1}}\nleaves: [{}]\nnamed: {a: }\nmaybe: null", "a: !!str 1", "- - - a", "%YAML 1.2\n---\na",
		"a: \"\\ud83d\\ude00\"", "\xef\xbb\xbfa: b\r\n", "a: 'x''y'", "a: 1e6", "a: 0x1F", "x: *x", "<<: 1", "a:\n- b\n-\n",
		"probes: [{kind: x, every: 1s}]\nkeep: 15d", "&a a: *a", "!!map {a: b}: c", "a: &b", "[a: b, c]", "{a, b: }",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		nodes, problems := Parse("f.yaml", data)
		if len(nodes) == 0 && len(problems) == 0 {
			t.Fatal("neither a document nor a problem")
		}
		for _, n := range nodes {
			var (
				a any
				b tree
				c = defaults()
			)
			for _, target := range []any{&a, &b, &c} {
				problems = append(problems, n.Into(target)...)
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.What == "" || p.Do == "" {
				t.Fatalf("a problem without a place or advice: %#v", p)
			}
		}
	})
}
