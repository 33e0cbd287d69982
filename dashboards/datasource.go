package dashboards

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/grafana-tools/sdk"
)

// there is a data source as Grafana has it, with what an update must send back.
type there struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	URL        string          `json:"url"`
	Access     string          `json:"access"`
	ReadOnly   bool            `json:"readOnly"`
	JSONData   map[string]any  `json:"jsonData"`
	SecureSet  map[string]bool `json:"secureJsonFields"`
	IsDefault  bool            `json:"isDefault"`
	BasicAuth  bool            `json:"basicAuth"`
	Credential bool            `json:"withCredentials"`
}

// datasource makes the data source, or corrects what of it is ours: its address and the token. Settings that people
// change in Grafana, such as the interval, stay.
func (p *pusher) datasource(ctx context.Context) (Result, error) {
	r := Result{Kind: "datasource", UID: DatasourceUID, Title: DatasourceUID, Action: Unchanged}
	settings := map[string]any{"httpMethod": httpMethod, "timeInterval": timeInterval}
	secret := map[string]string{}
	if token := p.config.KemiToken; !token.IsZero() {
		settings["httpHeaderName1"] = "Authorization"
		secret["httpHeaderValue1"] = "Bearer " + token.Reveal()
	}
	address := strings.TrimRight(p.config.KemiURL, "/")
	const path = "/api/datasources/uid/" + DatasourceUID
	var old there
	err := p.call(ctx, http.MethodGet, path, nil, &old)
	switch {
	case answered(err, http.StatusNotFound):
		made, err := p.CreateDatasource(ctx, sdk.Datasource{
			UID: DatasourceUID, Name: DatasourceUID, Type: "prometheus", Access: "proxy", URL: address, JSONData: settings, SecureJSONData: secret,
		})
		if err == nil && made.ID == nil {
			err = fmt.Errorf("grafana gave it no id")
		}
		if err != nil {
			return r.fail("make the data source", err)
		}
		r.Action = Created
		return r, nil
	case err != nil:
		return r.fail("look for the data source", err)
	case old.Type != "prometheus":
		return r.keep(fmt.Sprintf("it is a data source of type %s: remove it or give it another uid", old.Type))
	}
	// Grafana shows no secrets and keeps them for ever: whether a token is used shows by the header's name.
	header, _ := old.JSONData["httpHeaderName1"].(string)
	wanted, _ := settings["httpHeaderName1"].(string)
	same := old.URL == address && old.Access == "proxy" && header == wanted && (wanted == "" || old.SecureSet["httpHeaderValue1"])
	if same && (wanted == "" || !p.opts.Overwrite) {
		return r, nil
	}
	if old.ReadOnly {
		return r.keep("Grafana reads it from a file: write the file anew with `kemi dashboards write`")
	}
	merged := map[string]any{}
	maps.Copy(merged, settings)
	for k, v := range old.JSONData {
		if !strings.HasPrefix(k, "httpHeaderName") {
			merged[k] = v
		}
	}
	update := object{
		"uid": DatasourceUID, "name": old.Name, "type": "prometheus", "access": "proxy", "url": address, "isDefault": old.IsDefault,
		"basicAuth": old.BasicAuth, "withCredentials": old.Credential, "jsonData": merged, "secureJsonData": secret,
	}
	var answer struct{ Message string }
	if err := p.call(ctx, http.MethodPut, path, update, &answer); err != nil {
		return r.fail("correct the data source", err)
	}
	r.Action = Updated
	return r, nil
}
