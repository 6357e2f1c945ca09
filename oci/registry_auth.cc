#include "oci/registry_auth.h"

#include <algorithm>

#include "base/strings.h"
#include "oci/json_reader.h"
#include "oci/net_address.h"

namespace imgbuild::oci {

namespace {

using std::chrono::seconds;

constexpr seconds kShortestToken{60};  // NET-8, REG-20
constexpr seconds kLongestToken{3600};
constexpr std::uint64_t kTokenAnswerLimit = 1u << 20;

/// Token servers that belong to a registry although their names do not show it (NET-8).
constexpr std::pair<std::string_view, std::string_view> kRealmPairs[] = {
    {"docker.io", "auth.docker.io"},
    {"registry.gitlab.com", "gitlab.com"},
};

bool is_subdomain(std::string_view name, std::string_view domain) {
  return name.size() > domain.size() + 1 && name.ends_with(domain) &&
         name[name.size() - domain.size() - 1] == '.' && domain.find('.') != std::string_view::npos;
}

std::string basic(const std::string& user, const std::string& secret) {
  return cat("Basic ", base64_encode(cat(user, ":", secret)));
}

const Challenge* find_scheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  const auto found = std::find_if(challenges.begin(), challenges.end(),
                                  [&](const Challenge& challenge) { return challenge.scheme == scheme; });
  return found == challenges.end() ? nullptr : &*found;
}

std::string parameter(const Challenge& challenge, const std::string& name) {
  const auto found = challenge.parameters.find(name);
  return found == challenge.parameters.end() ? std::string() : found->second;
}

/// A token becomes part of a header: only what RFC 6750 allows in one, nothing that could end the line
/// (ATK-90).
bool is_token(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string query_for(const AuthTarget& target, const Challenge& challenge, const std::string& account) {
  std::vector<std::string> parts;
  const std::string service = parameter(challenge, "service");
  if (!service.empty()) parts.push_back(cat("service=", percent_encode(service)));
  for (const std::string_view scope : split(target.scope, ' ')) {
    if (!scope.empty()) parts.push_back(cat("scope=", percent_encode(scope, ":/,")));
  }
  if (!account.empty()) parts.push_back(cat("account=", percent_encode(account)));
  return join(parts, "&");
}

}  // namespace

RegistryAuth::RegistryAuth(HttpClient& http, RegistryAuthOptions options)
    : http_(http), options_(std::move(options)) {}

std::shared_ptr<RegistryAuth::Slot> RegistryAuth::slot(const std::string& registry,
                                                       const std::string& scope) {
  const std::lock_guard guard(mutex_);
  auto& found = slots_[{registry, scope}];
  if (!found) found = std::make_shared<Slot>();
  return found;
}

std::string RegistryAuth::known(const std::string& registry, const std::string& scope) {
  const auto kept = slot(registry, scope);
  const std::lock_guard guard(kept->mutex);
  return options_.now() < kept->expires ? kept->header : std::string();
}

std::string RegistryAuth::answer(const AuthTarget& target, const std::vector<std::string>& www_authenticate,
                                 const std::string& refused, std::stop_token stop) {
  const auto kept = slot(target.registry, target.scope);
  const std::lock_guard guard(kept->mutex);  // one token fetch per scope: the others wait and take its result
  if (!kept->header.empty() && kept->header != refused && options_.now() < kept->expires) return kept->header;

  const auto challenges = parse_challenges(www_authenticate);
  const auto who = options_.credentials ? options_.credentials(target.registry) : std::nullopt;
  if (const Challenge* bearer = find_scheme(challenges, "bearer")) {
    const HttpUrl realm = check_realm(target, *bearer);
    const bool trusted = who && may_send_credentials(target, realm);
    const HttpResponse response = ask(target, *bearer, realm, trusted ? who : std::nullopt, stop);
    if (response.status != 200) {
      RegistryError error(cat("the token server ", printable(realm.host()), " of ", target.registry,
                              " answered with status ", response.status));
      if (who && !trusted) {
        error.add_note(cat("your credentials were not sent because ", printable(realm.host()),
                           " is on another domain; it can be declared a trusted realm"));
      }
      throw error;
    }
    store_token(*kept, realm, response.body);
    return kept->header;
  }
  if (find_scheme(challenges, "basic") != nullptr && who && who->identity_token.empty()) {
    if (!target.url.is_https() && !target.insecure) {
      throw RegistryError(
          cat(target.registry, " asks for a password over an unencrypted connection; refused"));
    }
    const std::string header = basic(who->user, who->secret);
    if (header != refused) {
      kept->header = header;
      kept->expires = std::chrono::steady_clock::time_point::max();
      return header;
    }
  }
  throw RegistryError(
      cat(target.registry, ": authentication required", who ? "; the credentials were refused" : ""));
}

HttpUrl RegistryAuth::check_realm(const AuthTarget& target, const Challenge& challenge) const {
  const std::string text = parameter(challenge, "realm");
  if (text.empty()) throw RegistryError(cat(target.registry, " asks for a token but names no realm"));
  const HttpUrl realm = HttpUrl::parse(text);
  if (!realm.is_https() && !(target.insecure && !target.url.is_https())) {
    throw RegistryError(
        cat("the token server ", realm.safe(), " of ", target.registry, " is not encrypted; refused"));
  }
  if (realm.host() == target.url.host()) return realm;
  const auto scope = address_scope(realm.host());
  const bool local_name = realm.host() == "localhost" || realm.host().ends_with(".localhost");
  if (local_name || (scope && scope != AddressScope::global)) {
    throw RegistryError(cat("the token server ", realm.safe(), " of ", target.registry,
                            " is an address of this machine or network; refused"));
  }
  return realm;
}

bool RegistryAuth::may_send_credentials(const AuthTarget& target, const HttpUrl& realm) const {
  const std::string& host = realm.host();
  const std::string& registry = target.url.host();
  if (host == registry || is_subdomain(host, registry) || is_subdomain(registry, host)) return true;
  const auto is_pair = [&](const auto& pair) { return pair.first == target.registry && pair.second == host; };
  if (std::any_of(std::begin(kRealmPairs), std::end(kRealmPairs), is_pair)) return true;
  return std::find(options_.trusted_realms.begin(), options_.trusted_realms.end(), host) !=
         options_.trusted_realms.end();
}

HttpResponse RegistryAuth::ask(const AuthTarget& target, const Challenge& challenge, const HttpUrl& realm,
                               const std::optional<RegistryCredentials>& who, std::stop_token stop) {
  HttpRequest request;
  request.body_limit = kTokenAnswerLimit;
  request.total_timeout = seconds(30);
  request.verify_tls = !target.insecure;
  // A public registry must not aim us at an inner service, not even through DNS.
  const auto peer = address_scope(target.peer_address);
  request.global_addresses_only = realm.host() != target.url.host() && peer == AddressScope::global;
  const std::string separator = realm.str().find('?') == std::string::npos ? "?" : "&";
  if (who && !who->identity_token.empty()) {
    const std::string form =
        cat("grant_type=refresh_token&refresh_token=", percent_encode(who->identity_token),
            "&service=", percent_encode(parameter(challenge, "service")),
            "&client_id=imgbuild&scope=", percent_encode(target.scope));
    request.method = "POST";
    request.url = realm.str();
    request.follow_redirects = false;
    request.headers.add("Content-Type", "application/x-www-form-urlencoded");
    request.body = [form] { return std::make_unique<StringSource>(form); };
    request.body_size = form.size();
    return http_.send(request, stop);
  }
  const std::string query = query_for(target, challenge, who ? who->user : std::string());
  request.url = query.empty() ? realm.str() : cat(realm.str(), separator, query);
  if (who) request.authorization = basic(who->user, who->secret);
  return http_.send(request, stop);
}

void RegistryAuth::store_token(Slot& slot, const HttpUrl& realm, const std::string& body) {
  const JsonValue json = JsonValue::parse(body, "answer of the token server");
  std::string token = json.string_or_empty("token");
  if (token.empty()) token = json.string_or_empty("access_token");
  if (!is_token(token)) throw RegistryError(cat("the token server ", realm.safe(), " gave no usable token"));
  seconds lifetime = kShortestToken;
  const JsonValue* given = json.find("expires_in");
  if (given != nullptr && given->kind() == JsonValue::Kind::integer) {
    lifetime =
        seconds(std::clamp<std::int64_t>(given->as_integer(), kShortestToken.count(), kLongestToken.count()));
  }
  slot.header = cat("Bearer ", token);
  slot.expires = options_.now() + lifetime * 9 / 10;
}

}  // namespace imgbuild::oci
