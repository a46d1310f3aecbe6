package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const root = "../../.."

// What a set of manifests holds, decoded strictly: an unknown or misspelt field, or a value of the wrong type, fails the test.
type objects struct {
	all  []runtime.Object
	pods []pod
}

// A pod template with the object that makes pods of it.
type pod struct {
	owner string
	spec  corev1.PodSpec
	label labels.Set
}

func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, keda.AddToScheme,
		monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

func decode(t *testing.T, manifests []byte) *objects {
	t.Helper()
	var out objects
	strict := decoder(t)
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifests)))
	buffer := make([]byte, 4<<20)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text := bytes.TrimSpace(buffer[:n])
		if len(stripComments(text)) == 0 {
			continue
		}
		object, _, err := strict.Decode(bytes.Clone(text), nil, nil)
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		out.all = append(out.all, object)
		switch o := object.(type) {
		case *appsv1.Deployment:
			out.add(o.Name, o.Spec.Template, o.Spec.Selector)
		case *appsv1.StatefulSet:
			out.add(o.Name, o.Spec.Template, o.Spec.Selector)
		case *keda.ScaledJob:
			out.add(o.Name, o.Spec.JobTargetRef.Template, nil)
		}
	}
	return &out
}

func stripComments(text []byte) []byte {
	return bytes.TrimSpace(regexp.MustCompile(`(?m)^\s*(#.*|---)?$`).ReplaceAll(text, nil))
}

func (o *objects) add(owner string, template corev1.PodTemplateSpec, selector *metav1.LabelSelector) {
	o.pods = append(o.pods, pod{owner, template.Spec, template.Labels})
	if selector != nil && !labels.SelectorFromSet(selector.MatchLabels).Matches(labels.Set(template.Labels)) {
		panic(owner + " does not select its own pods")
	}
}

func find[T runtime.Object](o *objects) []T {
	var out []T
	for _, object := range o.all {
		if typed, ok := object.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// Everything that one object says about another is true.
func (o *objects) check(t *testing.T, external ...string) {
	t.Helper()
	secrets, configs := map[string]map[string]bool{}, map[string]bool{}
	for _, s := range find[*corev1.Secret](o) {
		secrets[s.Name] = map[string]bool{}
		for key := range s.Data {
			secrets[s.Name][key] = true
		}
		for key := range s.StringData {
			secrets[s.Name][key] = true
		}
	}
	for _, c := range find[*corev1.ConfigMap](o) {
		configs[c.Name] = true
	}
	isExternal := func(secret string) bool {
		for _, e := range external {
			if e == secret {
				return true
			}
		}
		return false
	}
	wantKey := func(owner, secret, key string) {
		if isExternal(secret) {
			return
		}
		if keys, ok := secrets[secret]; !ok || (key != "" && !keys[key]) {
			t.Errorf("%s: no secret %q with %q", owner, secret, key)
		}
	}
	for _, p := range o.pods {
		volumes := map[string]bool{}
		for _, v := range p.spec.Volumes {
			volumes[v.Name] = true
			if v.Secret != nil {
				wantKey(p.owner, v.Secret.SecretName, "")
				for _, item := range v.Secret.Items {
					wantKey(p.owner, v.Secret.SecretName, item.Key)
				}
			}
			if v.ConfigMap != nil && !configs[v.ConfigMap.Name] {
				t.Errorf("%s: no config map %q", p.owner, v.ConfigMap.Name)
			}
		}
		if set := p.spec.SecurityContext; set == nil || set.RunAsNonRoot == nil || !*set.RunAsNonRoot {
			t.Errorf("%s may run as root", p.owner)
		}
		for _, c := range p.spec.Containers {
			o.checkContainer(t, p, c, volumes, wantKey)
		}
	}
	o.checkSelectors(t)
}

func (o *objects) checkContainer(t *testing.T, p pod, c corev1.Container, volumes map[string]bool,
	wantKey func(owner, secret, key string)) {
	t.Helper()
	ports := map[string]bool{}
	for _, port := range c.Ports {
		ports[port.Name] = true
	}
	claims := map[string]bool{}
	for _, s := range find[*appsv1.StatefulSet](o) {
		if s.Name == p.owner {
			for _, claim := range s.Spec.VolumeClaimTemplates {
				claims[claim.Name] = true
			}
		}
	}
	for _, mount := range c.VolumeMounts {
		if !volumes[mount.Name] && !claims[mount.Name] {
			t.Errorf("%s: no volume %q", p.owner, mount.Name)
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			wantKey(p.owner, e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Key)
		}
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if probe != nil && probe.HTTPGet != nil && !ports[probe.HTTPGet.Port.StrVal] {
			t.Errorf("%s: a probe asks the unknown port %q", p.owner, probe.HTTPGet.Port.StrVal)
		}
	}
	if c.ReadinessProbe == nil || c.LivenessProbe == nil && p.owner != "redis" {
		t.Errorf("%s: %s has no probes", p.owner, c.Name)
	}
	if c.Resources.Requests.Memory().IsZero() {
		t.Errorf("%s: %s requests no memory", p.owner, c.Name)
	}
	if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Errorf("%s: %s is not confined", p.owner, c.Name)
	}
	if strings.HasPrefix(c.Command[0], "merganser-") {
		for _, arg := range c.Args {
			checkFlag(t, c.Command[0], arg)
		}
	}
}

// Services, policies and budgets lead to pods that there are, and to ports that these have.
func (o *objects) checkSelectors(t *testing.T) {
	t.Helper()
	selected := func(what string, selector labels.Selector) []pod {
		var out []pod
		for _, p := range o.pods {
			if selector.Matches(p.label) {
				out = append(out, p)
			}
		}
		if len(out) == 0 {
			t.Errorf("%s leads to no pod", what)
		}
		return out
	}
	hasPort := func(p pod, port intstr.IntOrString) bool {
		for _, c := range p.spec.Containers {
			for _, have := range c.Ports {
				if have.Name == port.StrVal {
					return true
				}
			}
		}
		return false
	}
	services := map[string]*corev1.Service{}
	for _, s := range find[*corev1.Service](o) {
		services[s.Name] = s
		for _, p := range selected("service "+s.Name, labels.SelectorFromSet(s.Spec.Selector)) {
			for _, port := range s.Spec.Ports {
				if !hasPort(p, port.TargetPort) {
					t.Errorf("service %s: %s has no port %s", s.Name, p.owner, port.TargetPort.StrVal)
				}
			}
		}
	}
	for _, policy := range find[*networkingv1.NetworkPolicy](o) {
		pods := selected("policy "+policy.Name, labels.SelectorFromSet(policy.Spec.PodSelector.MatchLabels))
		if len(pods) == 0 {
			continue
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				if !hasPort(pods[0], *port.Port) {
					t.Errorf("policy %s: %s has no port %s", policy.Name, pods[0].owner, port.Port.StrVal)
				}
			}
			for _, from := range rule.From {
				if from.PodSelector != nil && len(from.PodSelector.MatchLabels) > 0 {
					selected("a peer of policy "+policy.Name, labels.SelectorFromSet(from.PodSelector.MatchLabels))
				}
			}
		}
	}
	for _, budget := range find[*policyv1.PodDisruptionBudget](o) {
		selected("budget "+budget.Name, labels.SelectorFromSet(budget.Spec.Selector.MatchLabels))
	}
	// The addresses that programs are told.
	address := regexp.MustCompile(`--(?:coordinator=|store=redis://[^@]*@)([^:/?]+):(\d+)`)
	for _, p := range o.pods {
		for _, c := range p.spec.Containers {
			for _, arg := range c.Args {
				m := address.FindStringSubmatch(arg)
				if m == nil || strings.Contains(m[1], ".") {
					continue
				}
				if s := services[m[1]]; s == nil || !servesPort(s, m[2]) {
					t.Errorf("%s is told %s, which no service serves", p.owner, m[0])
				}
			}
		}
	}
}

func servesPort(s *corev1.Service, port string) bool {
	for _, p := range s.Spec.Ports {
		if fmt.Sprint(p.Port) == port {
			return true
		}
	}
	return false
}

// `arg` is a flag that the built program has, if there is one (MERGANSER_BIN).
func checkFlag(t *testing.T, program, arg string) {
	t.Helper()
	flag, _, _ := strings.Cut(arg, "=")
	bin := os.Getenv("MERGANSER_BIN")
	if bin == "" {
		return
	}
	help, err := exec.Command(filepath.Join(bin, program), "--help").Output()
	if err != nil {
		t.Fatalf("%s --help: %v", program, err)
	}
	if !regexp.MustCompile(`(^|[\s,])` + regexp.QuoteMeta(flag) + `($|[\s,])`).Match(help) {
		t.Errorf("%s has no flag %s", program, flag)
	}
}
