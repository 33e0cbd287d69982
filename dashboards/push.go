package dashboards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/grafana-tools/sdk"
)

// Action is what Push did with one thing.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
	// Kept: it differs from what was generated, because a person changed it or its files rule, and stays as it is.
	Kept Action = "kept"
	// Failed: Grafana refused it.
	Failed Action = "failed"
)

// Result is what became of one thing.
type Result struct {
	// Kind is "folder", "datasource" or "dashboard".
	Kind   string `json:"kind"`
	UID    string `json:"uid"`
	Title  string `json:"title"`
	Action Action `json:"action"`
	// Reason says why, when Action is Kept or Failed.
	Reason string `json:"reason,omitempty"`
	// URL is the dashboard's, for people.
	URL string `json:"url,omitempty"`
}

// ErrKept says that something was left as it is because a person changed it.
var ErrKept = errors.New("kept what a person changed")

// PushOptions of Push.
type PushOptions struct {
	// Overwrite replaces also what a person changed, and sends the token for Kemi anew.
	Overwrite bool
}

// Push brings folder, data source and dashboards into Grafana. What is already so is left alone, so that a second push
// changes nothing and makes no new version. Dashboards saved by anybody but Push since are kept, which is an error
// that wraps ErrKept, unless opts.Overwrite. One dashboard that fails does not stop the others: the error joins what
// went wrong, the results say what became of each. Refusals are *StatusError.
func Push(ctx context.Context, c Config, ds []Dashboard, opts PushOptions) ([]Result, error) {
	g, err := newClient(c)
	if err != nil {
		return nil, err
	}
	health, err := g.GetHealth(ctx)
	if err != nil || health.Database == "" {
		return nil, unreachable(c.URL, err)
	}
	p := pusher{g, c, opts}
	source, err := p.datasource(ctx)
	results := []Result{source}
	errs := []error{err}
	if err != nil && answered(err, http.StatusUnauthorized) {
		return results, err // Everything else would fail in the same way.
	}
	folderUID := ""
	if c.Folder != "" {
		folder, err := p.folder(ctx)
		results = append(results, folder)
		if err != nil {
			return results, errors.Join(append(errs, err)...)
		}
		folderUID = folder.UID
	}
	for _, d := range ds {
		r, err := p.dashboard(ctx, d, folderUID)
		results, errs = append(results, r), append(errs, err)
	}
	return results, errors.Join(errs...)
}

func unreachable(address string, err error) error {
	var syntax *json.SyntaxError
	switch {
	case err == nil || errors.As(err, &syntax):
		return fmt.Errorf("reach grafana at %s: what answers there is not Grafana: correct its url", address)
	case answered(err, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound):
		return fmt.Errorf("reach grafana at %s: %w", address, plain(err))
	}
	return fmt.Errorf("reach grafana at %s: %w: is it running, and is its url right?", address, plain(err))
}

type pusher struct {
	*client
	config Config
	opts   PushOptions
}

// fail completes a result by its error.
func (r Result) fail(doing string, err error) (Result, error) {
	err = fmt.Errorf("%s: %w", doing, plain(err))
	r.Action, r.Reason = Failed, err.Error()
	return r, err
}

// keep completes a result that stays as it is.
func (r Result) keep(why string) (Result, error) {
	r.Action, r.Reason = Kept, why
	return r, fmt.Errorf("%s %s: %w: %s", r.Kind, r.UID, ErrKept, why)
}

// folder finds the folder by its uid or title, or makes it.
func (p *pusher) folder(ctx context.Context) (Result, error) {
	r := Result{Kind: "folder", UID: slug(p.config.Folder), Title: p.config.Folder, Action: Unchanged}
	if r.UID == "" {
		r.UID = DatasourceUID
	}
	if _, err := p.GetFolderByUID(ctx, r.UID); err == nil {
		return r, nil
	} else if !answered(err, http.StatusNotFound, http.StatusForbidden) { // Newer Grafanas forbid what is not there.
		return r.fail("look for folder "+r.UID, err)
	}
	all, err := p.GetAllFolders(ctx, sdk.Limit(1000))
	if err != nil {
		return r.fail("list folders", err)
	}
	for _, f := range all {
		if f.Title == r.Title {
			r.UID = f.UID
			return r, nil
		}
	}
	if _, err := p.CreateFolder(ctx, sdk.Folder{UID: r.UID, Title: r.Title}); err != nil {
		return r.fail(fmt.Sprintf("make the folder %q, which is not there", r.Title), err)
	}
	r.Action = Created
	return r, nil
}

// message goes with every version that is saved here; that is how a version that a person saved is told apart.
const message = "kemi dashboards push"

func (p *pusher) dashboard(ctx context.Context, d Dashboard, folderUID string) (Result, error) {
	r := Result{Kind: "dashboard", UID: d.UID, Title: d.Title, URL: p.base.JoinPath("d", d.UID).String()}
	var model map[string]any
	if err := json.Unmarshal(d.json, &model); err != nil {
		return r.fail("read dashboard "+d.UID, err)
	}
	var there struct {
		Meta struct {
			FolderUID   string `json:"folderUid"`
			Provisioned bool   `json:"provisioned"`
		} `json:"meta"`
	}
	raw, _, err := p.GetRawDashboardByUID(ctx, d.UID)
	exists := err == nil
	if err != nil && !answered(err, http.StatusNotFound) {
		return r.fail("look for dashboard "+d.UID, err)
	}
	version := 0.0
	if exists {
		// The sdk gives the dashboard but not all that is said about it.
		if err := p.call(ctx, http.MethodGet, "/api/dashboards/uid/"+url.PathEscape(d.UID), nil, &there); err != nil {
			return r.fail("look for dashboard "+d.UID, err)
		}
		var old map[string]any
		if err := json.Unmarshal(raw, &old); err != nil {
			return r.fail("read dashboard "+d.UID, err)
		}
		version, _ = old["version"].(float64)
		switch edited, err := p.edited(ctx, d.UID); {
		case contains(old, model) && there.Meta.FolderUID == folderUID:
			r.Action = Unchanged
			return r, nil
		case there.Meta.Provisioned:
			return r.keep("Grafana reads it from a file: write the file anew with `kemi dashboards write`")
		case p.opts.Overwrite:
		case err != nil:
			return r.fail("ask who changed dashboard "+d.UID, err)
		case edited:
			return r.keep("it was changed in Grafana since it was pushed: push with --overwrite, or save it under another name first")
		}
	}
	model["id"], model["version"] = nil, version
	save := object{"dashboard": model, "folderUid": folderUID, "message": message, "overwrite": p.opts.Overwrite}
	var answer struct{ URL string }
	if err := p.call(ctx, http.MethodPost, "/api/dashboards/db", save, &answer); err != nil {
		return r.fail("save dashboard "+d.UID, err)
	}
	r.Action = Updated
	if !exists {
		r.Action = Created
	}
	return r, nil
}

// edited reports whether the newest version of a dashboard was saved by anybody but Push.
func (p *pusher) edited(ctx context.Context, uid string) (bool, error) {
	var raw json.RawMessage
	if err := p.call(ctx, http.MethodGet, "/api/dashboards/uid/"+url.PathEscape(uid)+"/versions?limit=1", nil, &raw); err != nil {
		return false, err
	}
	type version struct{ Message string }
	var list []version
	if err := json.Unmarshal(raw, &list); err != nil { // Since Grafana 11 the list has pages.
		var page struct{ Versions []version }
		if err := json.Unmarshal(raw, &page); err != nil {
			return false, fmt.Errorf("read the versions: %w", err)
		}
		list = page.Versions
	}
	return len(list) == 0 || !strings.HasPrefix(list[0].Message, message), nil
}

// contains reports whether there is everything of want in got, which may have more keys: Grafana adds its own.
func contains(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range want {
			if !contains(g[k], v) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return false
		}
		for i := range want {
			if !contains(g[i], want[i]) {
				return false
			}
		}
		return true
	}
	return got == want
}
