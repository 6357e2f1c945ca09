#include "builder/overlay_options.h"

#include <doctest/doctest.h>

using namespace imgbuild::builder;
using imgbuild::oci::OverlayFlavour;

TEST_CASE("options that are shown count, and the module's defaults for those that are not (OVL-2)") {
  const OverlayDefaults off{}, follow{.redirect_always_follow = true}, on{true, true, true, true};
  const auto wrong = [](std::string_view shown, const OverlayDefaults& defaults) {
    return wrong_overlay_option(shown, defaults, OverlayFlavour::trusted);
  };
  CHECK(wrong("rw,lowerdir=/l,upperdir=/u,workdir=/w,redirect_dir=nofollow,uuid=null,fsync=volatile",
              follow) == "");
  CHECK(wrong("rw,lowerdir=/l", off) == "");
  CHECK(wrong("rw,lowerdir=/l,redirect_dir=nofollow,index=off,metacopy=off", on) == "");
  CHECK(wrong("rw,redirect_dir=nofollow,index=on", off) == "index is not off");
  CHECK(wrong("rw,redirect_dir=nofollow,index=off", on) == "metacopy is not off");
  CHECK(wrong("rw,redirect_dir=nofollow", on) == "index is not off");
  CHECK(wrong("rw,redirect_dir=follow", off) == "redirect_dir is not nofollow");
  CHECK(wrong("rw,redirect_dir=on", off) == "redirect_dir is not nofollow");
  CHECK(wrong("rw", follow) == "redirect_dir is not nofollow");
}

TEST_CASE("the flavour of the marks is the one that was asked for (OVL-2)") {
  CHECK(wrong_overlay_option("rw,userxattr", {}, OverlayFlavour::user) == "");
  CHECK(wrong_overlay_option("rw", {}, OverlayFlavour::user) == "userxattr is not set");
  CHECK(wrong_overlay_option("rw,userxattr", {}, OverlayFlavour::trusted) == "userxattr is set");
}
