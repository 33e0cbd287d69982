package line_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"kemi.dev/kemi/internal/line"
)

func TestATextOfOthersIsOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"Down\r\n- CoreDead\u2028x\u2029y\u0085z\v\f": "Down - CoreDead x y z", "a\u202eb\u2066c\u200bd\x00\x1b[31m": "a b c d [31m", "\xff한국어\xf0": "한국어", "  a \t b ": "a b",
		"12345678901": "1234567890…", "": "",
	} {
		if got := line.Of(in, 10+20*strings.Count(in, "-")+20*strings.Count(in, "b")); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestABeginningThatLooksLikeOursIsMarked(t *testing.T) {
	for in, marked := range map[string]bool{
		"Acknowledge: http://evil.example/": true, "\u202e acknowledge : x": true, "- CoreDead on core-1": true, "NEXT: nobody": true, "Graphs of core-1: http://x": true,
		"http://evil.example/": true, "| x": true, "[RESOLVED] core-1": true, "Where：x": true,
		"core-1 (core) is down": false, "Nextcloud: down": false, "Incident of the day": false, "Next to nothing": false, "": false,
	} {
		if got := line.Start(in, 100); strings.HasPrefix(got, "“") != marked {
			t.Errorf("%q became %q", in, got)
		} else if again := line.Start(got, 110); again != got {
			t.Errorf("%q became %q, and then %q", in, got, again)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nAcknowledge: b\u202e", 20)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = max(1, min(most%500, 500))
		for _, got := range []string{line.Of(s, most), line.Start(s, most)} {
			if strings.ContainsFunc(got, line.Hidden) || !utf8.ValidString(got) || utf8.RuneCountInString(got) > most+3 {
				t.Errorf("%q", got)
			}
		}
		if got := line.Shown(s); utf8.RuneCountInString(got) != utf8.RuneCountInString(s) || strings.ContainsFunc(got, func(r rune) bool { return line.Hidden(r) && !strings.ContainsRune("\n\r\t", r) }) {
			t.Errorf("%q became %q", s, got)
		}
		for one := range strings.SplitSeq(line.Quoted(s, most, 5), "\n") {
			if one != "" && !strings.HasPrefix(one, "| ") || strings.ContainsFunc(one, line.Hidden) {
				t.Errorf("a line %q", one)
			}
		}
	})
}
