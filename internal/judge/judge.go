// Package judge asks the makers of AsyncAPI and CloudEvents what they think of Kemi's events, for tests.
//
// In: an AsyncAPI document, and records as a stranger read them. Out: what is wrong with them, a line each.
// It promises that the verdict is their software's (tools/asyncapi: pinned, installed by npm into the user's cache and
// run by Node), not Kemi's. A test that cannot have them skips by name, or fails when KEMI_CI is set.
// It never runs outside tests.
package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/netns"
)

// Judge is the installed software.
type Judge struct {
	t   testing.TB
	dir string
}

// Record is what a stranger read from a topic.
type Record struct {
	// Name is for complaints.
	Name string `json:"name"`
	// Binding is the protocol it came over: nats or kafka.
	Binding string            `json:"binding"`
	Headers map[string]string `json:"headers"`
	Value   string            `json:"value"`
}

// New installs the software when it is not there. top leads from the test's folder to the top of the repository.
func New(t testing.TB, top string) *Judge {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			netns.Missing(t, tool+" (Node 20 or later with npm)")
		}
	}
	dir, err := install(t, filepath.Join(top, "tools/asyncapi"))
	if err != nil {
		netns.Missing(t, "the software of tools/asyncapi: "+err.Error()+",")
	}
	return &Judge{t: t, dir: dir}
}

// install returns a folder of the user's cache that holds the software, named by what it should hold.
func install(t testing.TB, from string) (string, error) {
	files := []string{"package.json", "package-lock.json", "check.mjs"}
	content := map[string][]byte{}
	sum := sha256.New()
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return "", err
		}
		content[name] = data
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "kemi-test", "asyncapi-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), "partial-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	for name, data := range content {
		if err := os.WriteFile(filepath.Join(partial, name), data, 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = partial
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w: %.500s", err, out)
	}
	if err := os.Rename(partial, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return dir, nil // Another test was faster.
		}
		return "", err
	}
	return dir, nil
}

// Documents lets the AsyncAPI parser read documents, and holds the examples of each to its schemas. Each complaint begins
// with the file.
func (j *Judge) Documents(files ...string) (complaints []string) {
	j.t.Helper()
	return j.run(nil, "document", files...)
}

// Records holds records to the CloudEvents specification and to a document.
func (j *Judge) Records(document string, records []Record) (complaints []string) {
	j.t.Helper()
	if len(records) == 0 {
		j.t.Error("there are no records to judge")
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			j.t.Fatal(err)
		}
	}
	return j.run(lines.Bytes(), "events", document)
}

func (j *Judge) run(stdin []byte, mode string, files ...string) []string {
	j.t.Helper()
	args := []string{"check.mjs", mode}
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			j.t.Fatal(err)
		}
		args = append(args, file)
	}
	cmd := exec.CommandContext(j.t.Context(), "node", args...)
	cmd.Dir, cmd.Stdin = j.dir, bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		j.t.Logf("the judges saw %s", strings.TrimSpace(out.String()))
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == 1 && out.Len() > 0:
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	j.t.Fatalf("run tools/asyncapi/check.mjs %s: %v\n%s%s", mode, err, out.String(), errs.String())
	return nil
}
