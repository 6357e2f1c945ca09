namespace imgbuild {}
