package dashboards

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WriteOptions say what the files cannot know.
type WriteOptions struct {
	// Mount is the path at which Grafana sees the folder; empty is the folder's own absolute path.
	Mount string
	// KemiURL is how Grafana reaches Kemi; Grafana replaces $NAME by its environment. Empty is DefaultKemiURL.
	KemiURL string
	// TokenFile is the path, as Grafana sees it, of a file with a token for Kemi; empty when Kemi asks for none.
	TokenFile string
	// Folder of the dashboards in Grafana; empty is "Kemi".
	Folder string
}

// Write puts the dashboards into dir as files for Grafana's provisioning, so that paths.provisioning, or a copy of the
// files in it, is all that Grafana needs:
//
//	dashboards/kemi.yaml          where the dashboards are
//	dashboards/kemi/UID.json      one file for each
//	datasources/kemi.yaml         the data source
//
// The same dashboards make the same bytes; files that are already so are not touched. Dashboards that Write made before
// and that are no more are removed; a file of anybody else is never removed, nor replaced: that is an error. It returns
// the paths that it changed, sorted.
func Write(dir string, ds []Dashboard, opts WriteOptions) (changed []string, err error) {
	if opts.Mount == "" {
		if opts.Mount, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("write dashboards: %w", err)
		}
	}
	folder := filepath.Join(dir, "dashboards", "kemi")
	files := map[string][]byte{
		filepath.Join(dir, "dashboards", "kemi.yaml"):  providerYAML(opts),
		filepath.Join(dir, "datasources", "kemi.yaml"): sourceYAML(opts),
	}
	for _, d := range ds {
		files[filepath.Join(folder, d.UID+".json")] = d.json
	}
	stale, err := staleFiles(folder, files)
	if err != nil {
		return nil, fmt.Errorf("write dashboards: %w", err)
	}
	for path := range files {
		if err := replaceable(path); err != nil {
			return nil, fmt.Errorf("write dashboards: %w", err)
		}
	}
	for path, data := range files {
		wrote, err := writeFile(path, data)
		if err != nil {
			return nil, fmt.Errorf("write dashboards: %w", err)
		}
		if wrote {
			changed = append(changed, path)
		}
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove a dashboard that is no more: %w", err)
		}
		changed = append(changed, path)
	}
	slices.Sort(changed)
	return changed, nil
}

// writeFile replaces a file at once, so that a Grafana that watches the folder never sees half of it.
func writeFile(path string, data []byte) (wrote bool, err error) {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".kemi-*")
	if err != nil {
		return false, err
	}
	_, err = tmp.Write(data)
	// Grafana runs as somebody else and only reads.
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return false, err
	}
	return true, nil
}

// madeHere is the first line of the YAML files written here.
const madeHere = "# Written by `kemi dashboards write`; changes are lost when it is run again."

// ours reports whether a file was written here.
func ours(path string, data []byte) bool {
	if filepath.Ext(path) == ".yaml" {
		return bytes.HasPrefix(data, []byte(madeHere))
	}
	var b struct {
		UID  string
		Tags []string
	}
	return json.Unmarshal(data, &b) == nil && strings.HasPrefix(b.UID, "kemi-") &&
		slices.Contains(b.Tags, tagKemi) && slices.Contains(b.Tags, tagGenerated)
}

func replaceable(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !ours(path, data) {
		return fmt.Errorf("%s was not written by kemi: move it away, or write to another folder", path)
	}
	return nil
}

// staleFiles lists the dashboards of the folder that were written here and are not among files.
func staleFiles(folder string, files map[string][]byte) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if _, current := files[path]; current || !e.Type().IsRegular() || filepath.Ext(path) != ".json" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if ours(path, data) {
			stale = append(stale, path)
		}
	}
	return stale, nil
}

func providerYAML(o WriteOptions) []byte {
	folder := o.Folder
	if folder == "" {
		folder = DefaultFolder
	}
	return fmt.Appendf(nil, `%s
apiVersion: 1
providers:
  - name: kemi
    folder: %s
    type: file
    disableDeletion: false
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: %s
`, madeHere, quoted(folder), quoted(filepath.ToSlash(filepath.Join(o.Mount, "dashboards", "kemi"))))
}

func sourceYAML(o WriteOptions) []byte {
	url := o.KemiURL
	if url == "" {
		url = DefaultKemiURL
	}
	header, secret := "", ""
	if o.TokenFile != "" {
		header = "\n      httpHeaderName1: Authorization"
		secret = "\n    secureJsonData:\n      httpHeaderValue1: " + quoted("Bearer $__file{"+o.TokenFile+"}")
	}
	return fmt.Appendf(nil, `%s
apiVersion: 1
datasources:
  - name: %[2]s
    uid: %[2]s
    type: prometheus
    access: proxy
    url: %[3]s
    isDefault: false
    editable: false
    jsonData:
      httpMethod: %[4]s
      timeInterval: %[5]s%[6]s%[7]s
`, madeHere, DatasourceUID, quoted(url), httpMethod, quoted(timeInterval), header, secret)
}

// quoted writes a YAML string; every JSON string is one.
func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // A string can always be encoded.
	return strings.TrimSuffix(b.String(), "\n")
}
