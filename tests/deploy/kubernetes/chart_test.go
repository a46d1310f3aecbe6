// Package kubernetes holds deploy/kubernetes against Kubernetes' and KEDA's own types, as Helm and kustomize render it.
package kubernetes

import (
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Helm says for each link in the chart that it follows it.
func init() { log.SetOutput(io.Discard) }

// What `helm template fleet deploy/kubernetes/chart -n search -f values` prints.
func render(t *testing.T, values string) (string, error) {
	t.Helper()
	chart, err := loader.LoadDir(root + "/deploy/kubernetes/chart")
	if err != nil {
		t.Fatal(err)
	}
	var overrides map[string]any
	if err := yaml.UnmarshalStrict([]byte(values), &overrides); err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "fleet", Namespace: "search", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, overrides, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return "", err
	}
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var out strings.Builder
	for _, name := range names {
		out.WriteString("---\n" + files[name] + "\n")
	}
	return out.String(), nil
}

func mustRender(t *testing.T, values string) *objects {
	t.Helper()
	manifests, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, []byte(manifests))
}

func TestDefaultsAreAWholeFleet(t *testing.T) {
	o := mustRender(t, "")
	o.check(t)
	if d := find[*appsv1.Deployment](o); len(d) != 1 || *d[0].Spec.Replicas != 2 {
		t.Error("a coordinator and a stand-by")
	}
	if len(find[*appsv1.StatefulSet](o)) != 1 || len(find[*networkingv1.NetworkPolicy](o)) != 3 ||
		len(find[*policyv1.PodDisruptionBudget](o)) != 1 {
		t.Error("a Redis, three network policies, a disruption budget")
	}
	jobs := find[*keda.ScaledJob](o)
	if len(jobs) != 1 {
		t.Fatal("workers are a ScaledJob")
	}
	worker := jobs[0].Spec.JobTargetRef.Template.Spec.Containers[0]
	if gpus := worker.Resources.Limits["nvidia.com/gpu"]; gpus.Value() != 1 {
		t.Error("a worker has one GPU")
	}
	if !strings.Contains(strings.Join(worker.Args, " "), "--exit-when-idle=10m") {
		t.Error("a worker of a job leaves when idle")
	}
	if len(find[*monitoring.ServiceMonitor](o)) != 1 || len(find[*monitoring.PodMonitor](o)) != 1 {
		t.Error("both programs are scraped")
	}
	if rules := find[*monitoring.PrometheusRule](o); len(rules) != 1 || len(rules[0].Spec.Groups) < 4 {
		t.Error("the rules and alerts of deploy/prometheus are there")
	}
}

// Every metric in the query that scales workers is one that the coordinator exports.
func TestScalingQueryNamesMetricsThatThereAre(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	trigger := find[*keda.ScaledJob](mustRender(t, ""))[0].Spec.Triggers[0]
	query := trigger.Metadata["query"]
	metrics := regexp.MustCompile(`merganser_\w+`).FindAllString(query, -1)
	if len(metrics) != 2 {
		t.Errorf("queued and running: %s", query)
	}
	for _, metric := range metrics {
		if !strings.Contains(string(page), "`"+metric+"`") {
			t.Errorf("docs/metrics.md does not know %s", metric)
		}
	}
	if want := `{namespace="search", service="fleet-coordinator-metrics"}`; strings.Count(query, want) != 2 {
		t.Errorf("only this release's coordinators: %s", query)
	}
}

func TestTokensAndCertificateFitTogether(t *testing.T) {
	for _, s := range find[*corev1.Secret](mustRender(t, "")) {
		switch s.Name {
		case "fleet-tokens":
			for _, role := range []string{"admin", "submitter", "viewer", "worker"} {
				if !strings.Contains(s.StringData["tokens"]+"\n", role+" "+s.StringData[role]+"\n") {
					t.Errorf("tokens has no line for %s", role)
				}
			}
		case "fleet-redis":
			acl := s.StringData["users.acl"]
			if strings.Contains(acl, "change-me") {
				t.Errorf("a password was not set: %s", acl)
			}
			if !strings.Contains(acl, "user mg-worker on >"+s.StringData["worker-password"]+" ") {
				t.Errorf("the worker's password is another: %s", acl)
			}
		case "fleet-tls":
			for _, key := range []string{"ca.crt", "tls.crt", "tls.key"} {
				if !strings.Contains(string(s.Data[key]), "-----BEGIN ") {
					t.Errorf("%s is no PEM", key)
				}
			}
		}
	}
}

func TestValuesThatPeopleSet(t *testing.T) {
	for name, test := range map[string]struct {
		values   string
		external []string
		check    func(*testing.T, *objects)
	}{
		"a fixed number of CPU workers": {
			"workers: {scaling: deployment, device: cpu, gpus: 0, deployment: {replicas: 3}, flags: [--threads=4]}", nil,
			func(t *testing.T, o *objects) {
				for _, d := range find[*appsv1.Deployment](o) {
					if d.Name != "fleet-worker" {
						continue
					}
					c := d.Spec.Template.Spec.Containers[0]
					if _, gpu := c.Resources.Limits["nvidia.com/gpu"]; gpu || *d.Spec.Replicas != 3 {
						t.Error("three workers without a GPU")
					}
				}
				if len(find[*policyv1.PodDisruptionBudget](o)) != 2 || len(find[*keda.ScaledJob](o)) != 0 {
					t.Error("a budget for workers, no ScaledJob")
				}
			}},
		"a Redis of one's own": {
			"redis: {enabled: false, external: {address: 'redis.example:6379/2', secretName: my-redis}}", []string{"my-redis"},
			func(t *testing.T, o *objects) {
				if len(find[*appsv1.StatefulSet](o)) != 0 {
					t.Error("no Redis of ours")
				}
			}},
		"secrets of one's own": {
			"security: {tlsSecretName: my-tls, tokenSecretName: my-tokens}", []string{"my-tls", "my-tokens"},
			func(t *testing.T, o *objects) {
				if len(find[*corev1.Secret](o)) != 1 {
					t.Error("only Redis' passwords are made")
				}
			}},
		"no operator of any kind": {
			"{workers: {scaling: deployment}, monitoring: {enabled: false}, networkPolicy: {enabled: false}, podDisruptionBudget: {enabled: false}}",
			nil, func(t *testing.T, o *objects) {
				if len(find[*monitoring.ServiceMonitor](o)) != 0 || len(find[*networkingv1.NetworkPolicy](o)) != 0 {
					t.Error("what is off is not there")
				}
			}},
		"no security, said twice": {"security: {enabled: false, insecure: true}", nil, func(t *testing.T, o *objects) {
			if !strings.Contains(strings.Join(find[*appsv1.Deployment](o)[0].Spec.Template.Spec.Containers[0].Args, " "), "--insecure") {
				t.Error("the coordinator is told")
			}
		}},
		"models, placement, pull secrets": {
			`{models: {claimName: models}, image: {pullSecrets: [mine]}, coordinator: {nodeSelector: {a: b}, flags: [--lease=60s],
			   affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [node-1]}]}]}}}},
			  workers: {tolerations: [{key: nvidia.com/gpu, operator: Exists}], nodeSelector: {gpu: h100}}, monitoring: {labels: {release: prom}}}`,
			nil, func(t *testing.T, o *objects) {
				spec := find[*keda.ScaledJob](o)[0].Spec.JobTargetRef.Template.Spec
				if len(spec.Tolerations) != 1 || spec.NodeSelector["gpu"] != "h100" || spec.ImagePullSecrets[0].Name != "mine" {
					t.Error("a worker is placed as told")
				}
			}},
		"models on the nodes": {"models: {volume: {hostPath: {path: /srv/models, type: Directory}}}", nil, func(*testing.T, *objects) {}},
	} {
		t.Run(name, func(t *testing.T) {
			o := mustRender(t, test.values)
			o.check(t, test.external...)
			test.check(t, o)
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for values, want := range map[string]string{
		"security: {enabled: false}":    "security.insecure",
		"redis: {enabled: false}":       "redis.external",
		"workers: {scaling: by-prayer}": "keda or deployment",
		"workers: {gpu: 2}":             "gpu is not allowed",
		"redis: {enabled: 'no'}":        "redis.enabled",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// A value that the schema does not know could not be set, one that only it knows would do nothing.
func TestTheSchemaHasTheKeysOfTheValues(t *testing.T) {
	chart, err := loader.LoadDir(root + "/deploy/kubernetes/chart")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(chart.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, values, schema map[string]any)
	compare = func(path string, values, schema map[string]any) {
		properties, closed := schema["properties"].(map[string]any)
		if !closed {
			return
		}
		for key, value := range values {
			property, known := properties[key].(map[string]any)
			if !known {
				t.Errorf("the schema lacks %s%s", path, key)
			} else if inner, nested := value.(map[string]any); nested {
				compare(path+key+".", inner, property)
			}
		}
		for key := range properties {
			if _, there := values[key]; !there && path+key != "global" {
				t.Errorf("values.yaml lacks %s%s", path, key)
			}
		}
	}
	compare("", chart.Values, schema)
}

func TestKustomizationIsAFleet(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", root+"/deploy/kubernetes/kustomize/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	redis, err := filepath.Abs(root + "/deploy/redis")
	if err != nil {
		t.Fatal(err)
	}
	// Relative to its secrets folder, as in the tree.
	relative, err := filepath.Rel(dir+"/secrets", redis)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(dir + "/make-secrets.sh")
	command.Env = append(os.Environ(), "MERGANSER_REDIS_FILES="+strings.TrimPrefix(relative, "../"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, manifests)
	o.check(t)
	if len(find[*appsv1.Deployment](o)) != 2 || len(find[*networkingv1.NetworkPolicy](o)) != 3 {
		t.Error("coordinator, workers, and who may reach them")
	}
	for _, s := range find[*corev1.Secret](o) {
		if strings.Contains(string(s.Data["users.acl"]), "change-me") {
			t.Error("a password was not set")
		}
	}
}
