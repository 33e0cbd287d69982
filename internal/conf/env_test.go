package conf

import "testing"

func TestVariablesAreExpandedInValuesOnly(t *testing.T) {
	t.Setenv("KEMI_TEST_A", "a: [1]")
	t.Setenv("KEMI_TEST_EMPTY", "")
	t.Setenv("KEMI_TEST_NUMBER", "42")
	for in, want := range map[string]string{
		"${KEMI_TEST_A}":                     "a: [1]",
		"<${KEMI_TEST_A}>":                   "<a: [1]>",
		"${KEMI_TEST_EMPTY}":                 "",
		"${KEMI_TEST_EMPTY:-x}":              "x",
		"${KEMI_TEST_UNSET:-}":               "",
		"${KEMI_TEST_UNSET:-a:-b}":           "a:-b",
		"${KEMI_TEST_UNSET:-${KEMI_TEST_A}}": "a: [1]",
		"${KEMI_TEST_UNSET:-$${x}}":          "${x}",
		"$x and $ and $1$":                   "$x and $ and $1$",
		"$$x $${KEMI_TEST_A} $$$$":           "$x ${KEMI_TEST_A} $$",
		"$$${KEMI_TEST_NUMBER}":              "$42",
	} {
		nodes, problems := Parse("k.yaml", []byte("${k}: \""+in+"\""))
		if err := problems.Err(); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if got := nodes[0].Get("${k}").Text(); got != want {
			t.Errorf("%s gave %q, want %q", in, got, want)
		}
		raw, _ := ParseRaw("k.yaml", []byte("k: \""+in+"\""))
		if got := raw[0].Get("k").Text(); got != in {
			t.Errorf("raw: %s gave %q", in, got)
		}
	}
}

func TestVariablesHaveTheTypeTheyLookLike(t *testing.T) {
	t.Setenv("KEMI_TEST_NUMBER", "42")
	t.Setenv("KEMI_TEST_TRUE", "true")
	c := decode(t, "debug: \"${KEMI_TEST_TRUE}\"\nlimits: {low: \"${KEMI_TEST_NUMBER}\", small: 50}\nkeep: ${KEMI_TEST_NUMBER}s\nextra: ${KEMI_TEST_NUMBER}\nname: ${KEMI_TEST_NUMBER}\n")
	if !c.Debug || c.Limits.Low != 42 || c.Keep.Seconds() != 42 || c.Extra != 42 || c.Base.Name != "42" {
		t.Errorf("got %+v", c)
	}
	// Only what stands in the file can make structure; what is in the environment is always one value.
	if c := decode(t, "extra: \"${KEMI_TEST_NUMBER}\"\n"); c.Extra != "42" {
		t.Errorf("a quoted variable is text, got %#v", c.Extra)
	}
}
