#include "builder/ssh_keys.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "builder/ssh_wire.h"

using namespace imgbuild;
using namespace imgbuild::builder;

namespace {

/// Made for this test, protects nothing.
const std::string kKey =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END "
    "PRIVATE KEY-----\n";

SshKeys keys() {
  std::vector<SshKey> list;
  list.push_back(parse_ssh_key(kKey, "/home/u/.ssh/id"));
  return SshKeys(std::move(list));
}

}  // namespace

TEST_CASE("an agent of our own lists its keys and signs with them, and does nothing else (SEC-21)") {
  const SshKeys agent = keys();
  const std::string list = agent.answer(std::string(1, 11));
  SshReader reader(std::string_view(list).substr(1));
  CHECK(list[0] == 12);
  CHECK(reader.number() == 1u);
  const std::string blob(*reader.string());
  CHECK(blob.starts_with(ssh_string("ssh-ed25519")));
  CHECK(reader.string() == "id");

  const std::string request = '\15' + ssh_string(blob) + ssh_string("data") + ssh_number(0);
  const std::string answer = agent.answer(request);
  CHECK(answer[0] == 14);
  CHECK(answer.size() == 1 + 4 + 4 + 11 + 4 + 64);
  CHECK(agent.answer(request) == answer);  // ed25519 is deterministic

  const std::string failure(1, 5);
  for (int type = 0; type < 256; ++type)
    if (type != 11 && type != 13)
      CHECK(agent.answer(std::string(1, static_cast<char>(type)) + "x") == failure);
  for (std::size_t cut = 0; cut < request.size(); ++cut)
    if (cut != 0) CHECK(agent.answer(request.substr(0, cut)) == failure);
  CHECK(agent.answer(request + "x") == failure);
  CHECK(agent.answer('\15' + ssh_string("other") + ssh_string("data") + ssh_number(0)) == failure);
  CHECK(agent.answer("") == failure);
}

TEST_CASE("what is no usable key is refused by name, whatever is cut off") {
  for (std::size_t cut = 0; cut + 30 < kKey.size(); cut += 7)
    CHECK_THROWS_AS((void)parse_ssh_key(kKey.substr(0, cut), "key"), Error);
  const std::string begin = "-----BEGIN OPENSSH PRIVATE KEY-----\n",
                    end = "\n-----END OPENSSH PRIVATE KEY-----\n";
  for (const char* body : {"", "====", "AAAA", "b3BlbnNzaC1rZXktdjEA", "not base64!"})
    CHECK_THROWS_AS((void)parse_ssh_key(begin + body + end, "key"), Error);
}

TEST_CASE("numbers of the ssh protocol are positive and short") {
  CHECK(ssh_mpint(std::string("\0\0\x7f", 3)) == ssh_string("\x7f"));
  CHECK(ssh_mpint("\x80") == ssh_string(std::string("\0\x80", 2)));
  CHECK(ssh_mpint("") == ssh_string(""));
}
