package conf

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestSecretsShowInNothingThatPrints(t *testing.T) {
	type holder struct {
		Token  Secret
		Ptr    *Secret
		hidden Secret
		Many   map[string]Secret
	}
	s := NewSecret("hunter2")
	h := holder{s, &s, s, map[string]Secret{"a": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, &s, h)
	}
	for _, v := range []any{s, h} {
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", v, "list", []any{v})
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", v, "list", []any{v})
	}
	_ = gob.NewEncoder(&out).Encode(h.Token) // an error is as good as silence
	for _, leak := range []string{"hunter2", "68756e74657232", "68756E74657232", "104 117 110"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in\n%s", leak, out.String())
		}
	}
	if got := fmt.Sprint(s); got != "<secret>" {
		t.Errorf("printed as %q", got)
	}
	if s.Reveal() != "hunter2" || !s.Equal(NewSecret("hunter2")) || s.Equal(NewSecret("hunter3")) {
		t.Error("the secret itself is lost")
	}
	if (Secret{}).Reveal() != "" || !(Secret{}).IsZero() || s.IsZero() || (Secret{}).Reload() != nil {
		t.Error("the zero secret must be empty and harmless")
	}
}

func TestSecretsAreReadFromFilesBesideTheConfigurationAndAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k.yaml")
	write(t, path, "token_file: sub.token\n")
	write(t, filepath.Join(dir, "sub.token"), "one\r\n\n")
	n, problems := Load(path)
	var c struct{ Token Secret }
	if err := append(problems, n.Into(&c)...).Err(); err != nil {
		t.Fatal(err)
	}
	elsewhere := c.Token
	if c.Token.Reveal() != "one" || c.Token.Path() != filepath.Join(dir, "sub.token") {
		t.Errorf("got %q from %q", c.Token.Reveal(), c.Token.Path())
	}
	write(t, filepath.Join(dir, "sub.token"), "two")
	if err := c.Token.Reload(); err != nil || elsewhere.Reveal() != "two" {
		t.Errorf("after reload: %q, %v", elsewhere.Reveal(), err)
	}
	write(t, filepath.Join(dir, "sub.token"), "\n")
	if err := c.Token.Reload(); err == nil || c.Token.Reveal() != "two" {
		t.Errorf("an empty file must be an error and keep the old secret, got %q, %v", c.Token.Reveal(), err)
	}
	if got, want := n.Into(&c).Error(), path+":1:13: the secret file "+filepath.Join(dir, "sub.token")+": the file is empty: write the secret into it"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAProblemDoesNotShowWhatCameFromTheEnvironment(t *testing.T) {
	t.Setenv("KEMI_TEST_WORD", "hunter2")
	got := mistakes(t, "keep: ${KEMI_TEST_WORD}\ndebug: x${KEMI_TEST_WORD}\nprobes: ${KEMI_TEST_WORD}\nlimits: {low: \"${KEMI_TEST_WORD}\"}\n")
	if strings.Contains(got, "hunter2") || strings.Count(got, "\n") != 3 {
		t.Error(got)
	}
}
