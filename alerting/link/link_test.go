package link_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/alerting/link"
)

var at = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func key(t testing.TB, fill byte) link.Key {
	t.Helper()
	k, err := link.NewKey(bytes.Repeat([]byte{fill}, link.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestALinkSaysWhatItWasMadeFor(t *testing.T) {
	k := key(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringN(0, 40, 100)
		want := link.Link{
			Incident: word.Draw(t, "incident"), Page: word.Draw(t, "page"), Receiver: word.Draw(t, "receiver"), Person: word.Draw(t, "person"),
			Expires: at.Add(time.Duration(rapid.IntRange(1, 1e6).Draw(t, "seconds")) * time.Second),
		}
		token := k.Sign(want)
		got, err := k.Open(token, at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if token != k.Sign(want) || strings.ContainsAny(token, "+/=&?#. ") {
			t.Fatalf("token %q", token)
		}
	})
}

// Whatever is changed of a token, it opens nothing any more.
func TestAChangedLinkIsForged(t *testing.T) {
	k := key(t, 1)
	token := k.Sign(link.Link{Incident: "inc1", Page: "page1", Receiver: "pager", Person: "jo", Expires: at.Add(link.Life)})
	for i := range len(token) {
		for _, c := range []byte("Ab-_9") {
			changed := token[:i] + string(c) + token[i+1:]
			if changed == token {
				continue
			}
			if l, err := k.Open(changed, at); !errors.Is(err, link.ErrForged) {
				t.Errorf("with %q at %d it opens %+v: %v", c, i, l, err)
			}
		}
		if _, err := k.Open(token[:i], at); !errors.Is(err, link.ErrForged) {
			t.Errorf("cut at %d it opens", i)
		}
	}
	for _, bad := range []string{"", "x", token + "A", token + "\n", strings.Repeat("A", 5000), "ü"} {
		if _, err := k.Open(bad, at); !errors.Is(err, link.ErrForged) {
			t.Errorf("%.20q opens", bad)
		}
	}
	if _, err := key(t, 2).Open(token, at); !errors.Is(err, link.ErrForged) {
		t.Error("another key opens it")
	}
	if _, err := (link.Key{}).Open(token, at); !errors.Is(err, link.ErrForged) {
		t.Error("no key opens it")
	}
	// What moves from one word to the next is another link.
	if k.Sign(link.Link{Incident: "ab", Page: "c"}) == k.Sign(link.Link{Incident: "a", Page: "bc"}) {
		t.Error("two links have one token")
	}
}

func TestALinkExpires(t *testing.T) {
	k := key(t, 1)
	token := k.Sign(link.Link{Incident: "inc1", Person: "jo", Expires: at})
	if _, err := k.Open(token, at.Add(-time.Second)); err != nil {
		t.Error(err)
	}
	if l, err := k.Open(token, at); !errors.Is(err, link.ErrExpired) || l.Incident != "inc1" {
		t.Errorf("at its end: %+v %v", l, err)
	}
}

func TestAShortKeyIsRefused(t *testing.T) {
	if _, err := link.NewKey(make([]byte, link.KeySize-1)); err == nil {
		t.Error("it was taken")
	}
}

func FuzzOpen(f *testing.F) {
	k := key(f, 1)
	f.Add(k.Sign(link.Link{Incident: "inc1", Page: "page1", Receiver: "pager", Person: "jo", Expires: at}))
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		l, err := k.Open(token, at.Add(-time.Hour))
		if err == nil && k.Sign(l) != token {
			t.Errorf("%q opens %+v, whose token is %q", token, l, k.Sign(l))
		}
	})
}
